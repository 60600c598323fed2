"""When and where the stages run: the only folder that knows of Prefect.

Reading order: ``request`` (what one run was asked for), ``train_and_release`` (the whole story),
``tasks`` (a stage as a task), ``build_engine`` (one GPU target, on its own device), ``summary``
(the table at the end). ``deploy`` registers the deployments; ``watch`` starts a run and shows it on
the terminal, with ``stage_bars``.
"""
