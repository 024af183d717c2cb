# Makes a component of a window in C. In a Makefile:
#
#     NAME = visits
#     SOURCES = window.c
#     include path/to/sdk/c/window.mk
#
# `SITE = FOLDER` before the last line puts the files of a folder into the component: see
# hms_site.h.
#
# It needs zig (https://ziglang.org, or: pip install ziglang==0.17.1) as the compiler for
# WebAssembly, and jco (npm) for the last step.
HMS_SDK := $(dir $(lastword $(MAKEFILE_LIST)))
ZIG ?= $(shell command -v zig || command -v python-zig || echo python3 -m ziglang)
JCO ?= npx --yes @bytecodealliance/jco@1.25.2
OUT ?= dist
# `hms up` and `hms test` build so that a fault is found: names and lines are kept, and what C
# leaves undefined, such as an index behind an array, ends the instance.
ifeq ($(HMS_PROFILE),author)
CFLAGS ?= -O1 -g -Wall -Wextra -fsanitize=undefined -fsanitize-trap=undefined
else
CFLAGS ?= -Os -Wall -Wextra
endif

ifdef SITE
SOURCES += $(OUT)/site.c
endif

$(OUT)/$(NAME).wasm: $(OUT)/$(NAME).core.wasm
	$(JCO) new $< --wasi-reactor -o $@

# A window whose source includes hms_middleware.h is a middleware, which is WASI 0.3.
HMS_KIND := $(if $(shell grep -ls 'hms_middleware\.h' $(SOURCES) *.h),middleware,serve)
HMS_BINDINGS := $(HMS_SDK)bindings/window.c $(HMS_SDK)bindings/window_component_type.s
ifeq ($(HMS_KIND),middleware)
HMS_BINDINGS += $(HMS_SDK)bindings/middleware.c $(HMS_SDK)bindings/middleware_component_type.s
else
HMS_BINDINGS += $(HMS_SDK)bindings/served_component_type.s
endif
HMS_SHARED := $(filter-out %/serve.c %/middleware.c,$(wildcard $(HMS_SDK)src/*.c))
HMS_SOURCES := $(HMS_SHARED) $(HMS_SDK)src/$(HMS_KIND).c $(HMS_BINDINGS)
HMS_HEADERS := $(wildcard $(HMS_SDK)src/*.h $(HMS_SDK)include/*.h $(HMS_SDK)json/*.h $(HMS_SDK)bindings/*)

# The other profile's component is no longer wanted.
HMS_BUILT := $(OUT)/.$(or $(HMS_PROFILE),release)
$(HMS_BUILT):
	@mkdir -p $(OUT)
	@rm -f $(OUT)/.author $(OUT)/.release
	@touch $@

# By far the largest file: compiled once, as it is tested elsewhere.
$(OUT)/yyjson.o: $(HMS_SDK)json/yyjson.c $(HMS_SDK)json/yyjson.h
	@mkdir -p $(OUT)
	$(ZIG) cc -target wasm32-wasi -std=c17 -Os -c $< -o $@

$(OUT)/$(NAME).core.wasm: $(SOURCES) $(HMS_SOURCES) $(OUT)/yyjson.o $(HMS_HEADERS) $(HMS_BUILT)
	$(ZIG) cc -target wasm32-wasi -mexec-model=reactor -std=c17 $(CFLAGS) \
	    -I$(HMS_SDK)include -I$(HMS_SDK)json -I$(HMS_SDK)bindings -Wl,-z,stack-size=131072 -Wl,--initial-memory=1048576 \
	    $(SOURCES) $(HMS_SOURCES) $(OUT)/yyjson.o -o $@

ifdef SITE
$(OUT)/site.c: $(shell find $(SITE))
	@mkdir -p $(OUT)
	node $(HMS_SDK)site/build.mjs $(SITE) $@
endif

.PHONY: clean
clean:
	rm -rf $(OUT)
