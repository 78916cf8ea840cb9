"""The Yahoo streaming benchmark on our batches: generator, program, the original layout in Redis, and a checker.

After github.com/yahoo/streaming-benchmarks: ad events (view, click, purchase) of 100 campaigns with ten ads each; count
the views of each campaign in windows of ten seconds, where Redis knows which ad belongs to which campaign.

- `world.py`: campaigns, ads and events, the same for the same seed
- `sender.py`: puts events on the topic, live at a rate or as a backlog, and counts what is right; a process of its own
- `program.py`: what is measured, a small Faust app on `stream_app.ingest.batches`
- `judge.py`: whether Redis holds what is right, and how late each window was written last
- `__main__.py`: `python -m benchmarks.yahoo`
"""
