"""The monitor: the user's authority. Every effect is decided, logged and carried out here.

Its modules are its doors, because what each costs to import differs: `runtime` (policy, log and sandbox of one
command), `session` (a conversation), `project` (which folder, and whether it is trusted), `models` (which model, on
whose word), `events` (what a session tells its front).
"""
