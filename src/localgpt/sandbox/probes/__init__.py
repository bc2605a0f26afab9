"""The escape attempts of ``sandbox/probes`` run against this sandbox or any other launcher.

    python -m localgpt.sandbox.probes -- bwrap --ro-bind / / --bind {project} {project} --unshare-all

`catalogue` reads what there is to try and what is expected, `world` plants what there is to reach, `launchers` start an
attempt, and `suite` judges what came of it.
"""
