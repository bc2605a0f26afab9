# Thin on purpose: `run` and `scripts/` hold the commands.
.PHONY: check nightly

check:
	./run test

# What is too long for every change: properties with twenty times the examples, every bench in full, five minutes of
# every fuzz target, every restriction of the sandbox taken away once, a release built twice.
nightly:
	HYPOTHESIS_PROFILE=nightly ./run test --only tests,benches-full,adaptive,agentdojo,fuzz,mutations,release
