# make demo and make test need nothing but Debian with Go (and Python for the tests): they install what is missing.

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' python/src/pyro_mcp/_version.py)
GOARCH  ?= $(shell go env GOARCH)
VENV    := .venv
PYTHON  := $(VENV)/bin/python
RACE    := $(wildcard $(addprefix ./internal/,wire link network record guest supervisor vmm/qemu))
GUEST   := internal/guest/agent/pyro-agent

export CGO_ENABLED := 0
export GOTOOLCHAIN := local
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# A target whose name is a plain word makes no file of that name.
.PHONY: $(shell sed -n 's/^\([a-z][a-z -]*\):.*/\1/p' Makefile)

# build leaves bin/pyro: static, with the guest's agent in it; and bin/pyro-runsc, which runs guests in gVisor.
build: $(GUEST) bin/pyro-runsc
	go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/pyro ./cmd/pyro

# The agent is rebuilt each time; go build knows when there is nothing to do.
.PHONY: $(GUEST)
$(GUEST):
	GOARCH=$(GOARCH) go build -trimpath -ldflags "-s -w" -o $@ ./cmd/pyro-agent
	cd $(@D) && sha256sum $(@F) >$(@F).sha256

# gVisor takes minutes to compile: it is built when what is named here changes, for the architectures that it has.
bin/pyro-runsc: cmd/pyro-runsc/go.mod cmd/pyro-runsc/go.sum cmd/pyro-runsc/main.go
	GOARCH=$(GOARCH) go -C cmd/pyro-runsc build -trimpath -ldflags "-s -w" -o $(CURDIR)/$@ .

# setup installs QEMU if it is missing.
setup:
	./tools/setup

setup-test: setup
	./tools/setup test
	$(MAKE) --no-print-directory $(VENV)/.ready

# The tests' Python packages, installed again if what is asked for changed.
$(VENV)/.ready: test/requirements.txt
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -r test/requirements.txt
	touch $@

demo: setup build
	bin/pyro env pull debian:12
	bin/pyro run debian:12 -- git --version
	bin/pyro demo

# check is for each change: formatting, linters, types, unit tests; no guests, no mirror, within a minute when warm.
check: $(GUEST) $(VENV)/.ready
	./tools/check/run

# race runs what has goroutines and hostile bytes under the race detector, which needs a C compiler.
race: $(GUEST)
	CGO_ENABLED=1 go test -race -timeout 15m $(RACE)

# test runs everything, guests included; a guest test that cannot run fails.
test: setup-test build
	./test/run

test-go: build
	go test -timeout 15m ./...

# test-gvisor runs the end-to-end tests, then the table of faults, with guests in gVisor, whose snapshots are of files
# alone. It wants an installed debian:12.
test-gvisor: build
	PYRO_ISOLATION=gvisor PYRO_RUNSC=$(CURDIR)/bin/pyro-runsc PYRO_BINARY=$(CURDIR)/bin/pyro go test -count 1 -timeout 15m ./test/e2e
	PYRO_ISOLATION=gvisor PYRO_BINARY=$(CURDIR)/bin/pyro go test -tags faults -count 1 -timeout 20m -skip TestSnapshot ./test/faults

test-python: build
	cd python && PYTHONPATH=src ../$(PYTHON) -m pytest -q

# test-pythons runs the Python package's tests with each Python from 3.10 to 3.13 that is there.
test-pythons: build
	./test/pythons

test-clients: build
	./test/clients/run

# test-typescript builds the npm package, packs it, and tests what an empty folder gets of it.
test-typescript: npm
	./test/npm

# test-terminal drives all programs of test/terminal on terminals; make test drives the few that are small.
test-terminal: setup-test build
	PYRO_TEST_PROGRAMS=all $(PYTHON) -m pytest -q test/terminal

# test-browser drives a Chromium of the host's on a server in a task, through a forwarded port.
test-browser: build
	./test/browser/run

# test-kvm runs guests on a real KVM, in a machine whose virtualization is emulated: as root, in four minutes, ten the first
# time, with nothing else beside it. It wants an installed debian:12.
test-kvm: build
	./tools/setup kvm
	./test/kvm/run

# bench-kvm is test-kvm with KVM and TCG compared there, a cold and a warm run, an exec, a loop: twelve minutes.
bench-kvm: build
	./tools/setup kvm
	PYRO_TEST_KVM_RATIOS=1 ./test/kvm/run

# test-qemu-next runs the VMM suite and a warm start with Debian 13's QEMU, beside the system's. It wants an installed debian:12.
test-qemu-next: build
	./tools/setup kvm
	./test/qemu-next/run

# test-cluster runs jobs on a Ray cluster and under a Slurm of its own on this machine, and ends nodes in the middle.
test-cluster: build
	./test/cluster/run

# bench-cluster measures jobs a second on Ray nodes of this machine beside the same loop without Ray, and a lost node.
bench-cluster: export PYRO_ISOLATION ?= gvisor
bench-cluster: build
	./test/cluster/run bench/cluster.py

# bench-fork-map makes 50 attempts at one prepared repository, by fork, over two Ray nodes; beside it each prepares.
bench-fork-map: build
	./test/cluster/run bench/fork_map.py

# test-adapters installs Inspect, LangChain's tests, the OpenAI Agents SDK, smolagents and Harbor, and runs their suites.
test-adapters: build
	./test/adapters/run

# test-e2b runs E2B's own SDKs, of PyPI and npm, against pyro serve e2b.
test-e2b: build
	./test/e2b/run

# test-conformance runs the protocol's own suite for servers against the MCP server.
test-conformance: build
	./test/conformance/run

# npm leaves dist/*.tgz: the package, and the one with pyro in it for this platform.
npm: build dist/third-party-licenses
	./tools/npm $(VERSION) $(GOARCH)

# wheel leaves dist/*.whl, a wheel for this platform with pyro in it.
wheel: build dist/third-party-licenses
	test -x $(PYTHON) || python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check build
	mkdir -p dist
	PYRO_BINARY=$(CURDIR)/bin/pyro PYRO_LICENSES=$(CURDIR)/dist/third-party-licenses PYRO_GOARCH=$(GOARCH) $(PYTHON) -m build --wheel --outdir dist python

# wheel-gvisor leaves a wheel with pyro-runsc, for those who want --isolation gvisor beside the wheel of make wheel.
wheel-gvisor: wheel
	PYRO_BINARY=$(CURDIR)/bin/pyro-runsc PYRO_LICENSES=$(CURDIR)/dist/third-party-licenses PYRO_GOARCH=$(GOARCH) $(PYTHON) -m build --wheel --outdir dist python/runsc

# man leaves the man pages, written from the help texts, in dist/man.
man:
	rm -rf dist/man
	GOARCH= go run ./tools/man $(VERSION) dist/man

# The licences of what is linked in go wherever the program goes.
.PHONY: dist/third-party-licenses
dist/third-party-licenses:
	mkdir -p dist
	./tools/licenses >$@

# dist leaves a tarball and a .deb in dist; the same commit gives the same bytes.
dist: build man dist/third-party-licenses
	./tools/dist $(VERSION) $(GOARCH)

# bench measures starts, many VMs and computing beside the tools of bench-setup, draws it, and tells what the faces cost;
# make bench-compare OLD.json NEW.json shows regressions.
bench: build
	python3 bench/start.py
	python3 bench/work.py
	python3 bench/data.py
	python3 bench/plot.py
	python3 bench/faces.py

# bench-faces tells what each face adds to the engine's time, and how large the packages are. It wants an installed debian:12.
bench-faces: build wheel npm
	python3 bench/faces.py

# The parts of bench, each within a few minutes beside what it is compared with: warm starts; boots and what a build beside
# them costs; runs that find a VM ready; many at once and the memory of 20; memory of 1 to 50; computing and files.
bench-starts bench-cold bench-kept bench-crowd: build
	python3 bench/start.py $(@:bench-%=%)

bench-memory bench-work: build
	python3 bench/work.py $(@:bench-%=%)

# bench-data measures 200 MB of output, and 10,000 files as a seed.
bench-data: build
	python3 bench/data.py

# bench-pull makes debian:12 from packages at hand, beside mmdebstrap: as root.
bench-pull: build
	python3 bench/pull.py

# bench-tokens counts what the profiles of the MCP server cost a model's context.
bench-tokens: build
	python3 bench/tokens.py

# recording draws the README's terminal session from a real one.
recording: build
	bin/pyro -q env warm debian:12
	./tools/recording

# bench-terminal measures key presses, attaching, and the memory of 100 background commands.
bench-terminal: build
	python3 bench/terminal.py bin/pyro

# bench-confinement measures warm starts with and without QEMU's confinement; bench-users cold and warm ones as an ordinary
# user beside root's, as root. BENCH_ROUNDS is how often. They want an installed debian:12.
bench-confinement: build
	python3 bench/confinement.py

bench-users: build
	python3 bench/users.py

bench-setup:
	./tools/setup bench

bench-compare:
	python3 bench/compare.py $(filter %.json,$(MAKECMDGOALS))

# soak runs 400 VMs and looks for what they leave.
soak: build
	PYRO_BINARY=$(CURDIR)/bin/pyro go test -tags soak -count 1 -timeout 30m -v ./test/soak

# bench-gvisor measures a start in gVisor beside runsc's own, and a loop, pip, a C build, npm and 10,000 files beside the host
# and an emulated guest. BENCH_ROUNDS is how often.
bench-gvisor: build
	python3 bench/gvisor.py

# bench-network measures a guest's network against none; it wants an installed debian:12 and a quiet machine.
bench-network: build
	go build -trimpath -o bin/bench-network ./bench/network
	bin/bench-network

# bench-oci needs docker-registry and skopeo.
bench-oci: build
	python3 bench/oci.py

# faults ends callers, supervisors and QEMU at every moment of a VM's life; make test-gvisor does so with gVisor's processes.
faults: build
	PYRO_BINARY=$(CURDIR)/bin/pyro go test -tags faults -count 1 -timeout 60m -v ./test/faults

# fuzz runs each fuzz target for FUZZTIME, 10s by default.
fuzz:
	FUZZTIME=$(FUZZTIME) ./tools/fuzz

# bench-tasks measures tasks: commands, deleting, seeding, an idle supervisor. It wants an installed debian:12.
bench-tasks: build
	python3 bench/tasks.py

# bench-files measures files in and out of a task, and what changed, beside cp and diff on this host: ROUNDS, 3 by default.
bench-files: build
	python3 bench/files.py $(ROUNDS)

# bench-snapshots measures snapshots, forks, rollbacks and pauses, and memory and disk against the number of forks, and draws
# that. It wants an installed debian:12.
bench-snapshots: build
	python3 bench/snapshots.py

# demo-attempts runs 20 attempts from one prepared state, and as many that are each prepared.
demo-attempts: build
	python3 bench/attempts.py

# changelog writes CHANGELOG.md from changes/; with VERSION=x.y.z it makes a release's section of them.
changelog:
	./tools/changelog $(if $(findstring command line,$(origin VERSION)),$(VERSION))

clean:
	rm -rf bin dist $(GUEST) $(GUEST).sha256
