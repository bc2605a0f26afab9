# Thin on purpose: `run` and `scripts/` hold the commands.
.PHONY: check nightly

check:
	./run test

# What is too long for every change: properties with twenty times the examples, every bench in full, a release built twice,
# every restriction of the sandbox taken away once.
nightly:
	HYPOTHESIS_PROFILE=nightly ./run test --only tests,benches-full,release,mutations
