# Thin on purpose: `run` and `scripts/` hold the commands.
.PHONY: check nightly

check:
	./run test

# What is too long for every change: properties with twenty times the examples, every fuzz target for a minute, every bench in full, a release built twice.
nightly:
	HYPOTHESIS_PROFILE=nightly ./run test --only tests,fuzz,benches-full,release
