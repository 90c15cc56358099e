# make run    fresh machine -> environment -> samples/ cleaned into out/, with a report
# make test   fresh machine -> environment -> all tests, in a real browser too
# make lint   ruff, and mypy in strict mode on denoise/
# make samples ASTERISK=FOLDER   makes samples/ anew (see samples/make.py)
#
# ENGINE=gpu takes onnxruntime-gpu in place of onnxruntime. PYTHON=python3.12 chooses the interpreter.

ENGINE ?= cpu
PYTHON ?= python3
VENV ?= .venv

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q -c constraints.txt
NOISY := $(wildcard samples/*.wav samples/*.flac samples/*.png samples/*.tif samples/*.dng)
# The default model for sound is for voices.
MUSIC := samples/tape.flac
OTHER_ENGINE := $(if $(filter gpu,$(ENGINE)),onnxruntime,onnxruntime-gpu)

.PHONY: run test lint samples browser clean

run: $(VENV)/run-$(ENGINE)
	$(BIN)/denoise clean $(filter-out $(MUSIC),$(NOISY)) -o out --overwrite
	$(BIN)/denoise clean $(MUSIC) --model spectral -o out --overwrite
	@echo; echo "samples/ as they are, beside their clean originals:"
	@$(BIN)/denoise measure $(NOISY) --reference samples/clean
	@echo; echo "out/, cleaned:"
	@$(BIN)/denoise measure $(patsubst samples/%,out/%,$(NOISY)) --reference samples/clean

test: $(VENV)/test-$(ENGINE) browser
	@$(BIN)/python -m pytest

lint: $(VENV)/test-$(ENGINE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

samples: $(VENV)/test-$(ENGINE)
	$(BIN)/python samples/make.py $(ASTERISK)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; name a newer one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/test-$(ENGINE): MORE := ,dev,export,fit,peers,rooms,web

# Both engines write the same folder, and removing one breaks the other: both go before one comes.
$(VENV)/run-$(ENGINE) $(VENV)/test-$(ENGINE): pyproject.toml constraints.txt | $(BIN)/python
	@if $(PIP) show -q $(OTHER_ENGINE) >/dev/null 2>&1; then \
		$(PIP) uninstall -q -y onnxruntime onnxruntime-gpu; rm -f $(VENV)/run-* $(VENV)/test-*; fi
	@echo "Installing into $(VENV), a few minutes on the first call..."
	@$(INSTALL) -e ".[$(ENGINE)$(MORE),scores]" 2>/dev/null || { \
		echo "Once more, without PESQ: it is compiled, and that needs a C compiler."; \
		$(INSTALL) -e ".[$(ENGINE)$(MORE)]"; }
	@touch $@

# Where it cannot be installed, the browser's tests say why they were skipped.
browser:
	@if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null \
		&& [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "Installing chromium for the browser's tests..."; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
			>/dev/null 2>&1 || echo "chromium could not be installed."; fi

clean:
	rm -rf out build dist
