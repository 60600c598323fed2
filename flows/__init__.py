"""The Prefect flows: when and where the stages run. No other folder imports Prefect.

Reading order: ``request`` (the parameters of one run), ``train_and_release`` (the flow of a
release), ``tasks`` (a stage as a task), ``build_engine`` (one GPU target, on its own device),
``summary`` (the tables at the end). ``deploy`` registers the deployments. ``watch`` starts a run
and shows its progress on the terminal, with ``stage_bars``. ``promotion`` decides a promotion
request, and ``webhook`` is the promotion watcher, which runs it.
"""
