"""How well the spike rule tells spikes from noise, on labelled series; run it with `python -m benchmarks.alerts DIR`."""
