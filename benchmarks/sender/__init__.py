"""The sender of the live benches: a program of its own, for librdkafka is no dependency of the project."""
