# What a developer does here. `make demo` and `make test` set up all they need themselves.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
BUF    := .build/node_modules/.bin/buf
# Percent of lines that the tests must execute. Raise it when they execute more; never lower it.
FLOOR  := 98
# `make test COVERAGE=yes` measures that, as CI does; the tests then take half again as long.
COVERAGE ?=
MEASURED := --cov --cov-report=term --cov-fail-under=$(FLOOR)
# Where `make interop` installs ML-Agents' own package.
STOCK  := .build/mlagents
# Each in .build/peers. ML-Agents is none of them: see benchmarks/README.md.
PEERS  := sb3 sbx skrl sb3-contrib rl_games
# Options of `make bench`: QUICK=yes, ROWS=cheetah-64,update, PAIRS=8.
QUICK  ?=
ROWS   ?=
PAIRS  ?=
# Options of `make zoo`: ONLY=cartpole,door_key, SEEDS=3, JOBS=2 (runs at the same time).
ONLY   ?=
SEEDS  ?=
JOBS   ?=
# The run of `make demo`, and where its page is: 0 takes any port that is free.
DEMO   := $(shell date +demo-%Y%m%d-%H%M%S)
HTTP   ?= localhost:0

# Python keeps compiled modules, whatever the shell says: without them each of the programs that tests
# start compiles the package anew, and each of pytest's workers rewrites the asserts of all tests.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check hostile interop clients learn bench peers docs kubernetes zoo proto proto-check containers wheels clean setup format

$(VENV)/installed: pyproject.toml envs/pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e envs -e '.[dev]'
	touch $@

setup: $(VENV)/installed  ## Make the virtual environment with both packages and all tools.

demo: setup  ## Train the balance ball over gRPC, with a page to see it in a browser, and record it.
	$(BIN)/entrain train docs/examples/balance_ball.yaml --name $(DEMO) \
	    --set server.address=localhost:0 --http $(HTTP)
	$(BIN)/entrain play runs/$(DEMO) --untrained --sample --record runs/$(DEMO)/recordings/before.gif
	$(BIN)/entrain play runs/$(DEMO) --record runs/$(DEMO)/recordings/after.gif

# Three at once on two processors: a third of the time of a test is waiting for sockets and programs.
test: setup  ## Unit and integration tests; no network beyond loopback.
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --dist worksteal -m "not learning and not hostile and not interop and not clients" $(if $(COVERAGE),$(MEASURED))

hostile: setup  ## Attacks on a run with a good citizen in it, the long forms too; some minutes.
	OMP_NUM_THREADS=1 $(BIN)/pytest --timeout 600 tests/hostile

interop: setup $(STOCK)/installed  ## Beside ML-Agents' own Python package, which is installed apart.
	ENTRAIN_MLAGENTS_PYTHON=$(STOCK)/bin/python OMP_NUM_THREADS=1 $(BIN)/pytest tests/interop

$(STOCK)/installed: tests/interop/requirements.txt
	$(PYTHON) -m venv $(STOCK)
	$(STOCK)/bin/pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python -r $<
	touch $@

clients: setup  ## Build and test the clients in other languages; installs what they need, as root.
	tests/clients/install.sh
	OMP_NUM_THREADS=1 $(BIN)/pytest --timeout 600 tests/clients

learn: setup  ## Learning claims: seeds and thresholds, about three hours.
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/pytest -m learning --timeout 10800 tests/learning

bench: setup peers  ## One table and one picture: peers, limits and us; QUICK=yes in five minutes.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.table $(if $(QUICK),--quick) $(if $(ROWS),--rows $(ROWS)) \
	    $(if $(PAIRS),--pairs $(PAIRS)) --json .build/bench.json --picture .build/bench.png

zoo: setup  ## Train what zoo/README.md's table lacks, and write the table; hours.
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.zoo $(if $(ONLY),--only $(ONLY)) \
	    $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

peers: $(PEERS:%=.build/peers/%/installed)  ## What `make bench` compares with, each in an environment of its own.

# Rows of a peer that cannot be installed here say so; the others are measured all the same.
.build/peers/%/installed: benchmarks/peers/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@ || echo "$* is left out"

check: setup proto-check  ## Style, types, layers, wire contract.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BUF) lint

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup  ## Rewrite the references of options and metrics, and the schema that editors use.
	$(BIN)/entrain schema --markdown --output docs/configuration.md
	$(BIN)/entrain schema --output docs/entrain.schema.json
	$(BIN)/entrain metrics --markdown --output docs/metrics.md

proto: setup  ## Regenerate the protobuf classes, and record the byte vectors again.
	$(BIN)/python proto/generate.py envs/entrain_envs
	$(BIN)/python -m proto.record_vectors

proto-check: setup $(BUF)
	$(BIN)/python proto/generate.py --check envs/entrain_envs
	$(BIN)/python -m proto.record_vectors --check

$(BUF):
	npm install --silent --no-fund --no-audit --prefix .build @bufbuild/buf@1.75.0

kubernetes:  ## Render docker/kubernetes for those who use no kustomize, with kubectl.
	docker/kubernetes/render.sh

containers:  ## Build both images and run them to a trained policy, with buildah and podman; as root.
	docker/containers.sh

wheels: setup  ## Build wheels and sdists of both packages, and train with them in a fresh environment.
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist envs
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/python tests/try_wheels.py dist

clean:
	rm -rf $(VENV) .build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
