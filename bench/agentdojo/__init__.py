"""AgentDojo's worst case without a model: `python -m bench.agentdojo`. See bench/agentdojo/README.md."""
