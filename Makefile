# temporal_complete: finish Temporal activities from SQL
#
#   make, make install      build and install, by PGXS (PG_CONFIG says for which PostgreSQL)
#   make installcheck       pg_regress, against a running server that has the extension installed
#   make demo               see it work, from nothing; KEEP=1 leaves it running
#   make test               all tests, against throw-away servers; also test-sql, test-isolation, test-tap, test-temporal
#   make test-matrix        compile and test for PostgreSQL 14 to 19, as root; VERSIONS, SUITES: see scripts/test-matrix
#   make test-servers       the same against other Temporal servers; SERVERS='1.29 1.32 java'
#   make test-sdks          workers of Temporal's SDKs, other than Go's too; SDKS='python java'
#   make fuzz TIME=60       feed hostile bytes to what parses them, each parser for so many seconds
#   make storm              let all fail at once and account for it; SEED, REQUESTS, STUB_REQUESTS, TIME=30m
#   make test-upgrade       pg_upgrade from OLD_PG_CONFIG to PG_CONFIG; both need the extension installed
#   make bench              figures, beside those of peers; QUICK=1 in 3 minutes, FULL=1 for long
#   make indent             lay the C files out as PostgreSQL's are; make check-indent: are they?
#   make check-house       do the files and folders of src/ keep the rules that they have?
#   make check-memory       sanitizers, valgrind, and memory over a million requests; see scripts/check-memory
#   make clean

EXTENSION = temporal_complete
# The one place where the version stands; META.json has to have the same, which check-house sees to.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" temporal_complete.control)
MODULE_big = temporal_complete

# These need no PostgreSQL to begin with: what is missing, they install.
OWN_GOALS = demo test test-sql test-isolation test-tap test-temporal test-servers test-sdks storm test-upgrade test-matrix indent check-indent typedefs check-house

ifneq ($(filter $(OWN_GOALS),$(MAKECMDGOALS)),)

demo:
	@demo/demo $(if $(KEEP),keep)

test:
	@scripts/run-tests sources sql isolation tap temporal

test-sql test-isolation test-tap test-temporal: test-%:
	@scripts/run-tests $*

test-matrix:
	@SUITES="$(SUITES)" scripts/test-matrix $(VERSIONS)

test-servers:
	@SERVERS="$(SERVERS)" scripts/run-tests servers

test-sdks:
	@SDKS="$(SDKS)" scripts/run-tests sdks

storm:
	@STORM_FLAGS="$(if $(SEED),-seed $(SEED)) $(if $(REQUESTS),-requests $(REQUESTS)) \
		$(if $(STUB_REQUESTS),-stub-requests $(STUB_REQUESTS)) $(if $(TIME),-time $(TIME))" scripts/run-tests storm

test-upgrade:
	@PG_CONFIG="$(PG_CONFIG)" OLD_PG_CONFIG="$(OLD_PG_CONFIG)" scripts/test-upgrade

indent:
	@scripts/indent

check-indent:
	@scripts/indent --check

# after a build, when there is a new type
typedefs:
	@scripts/indent --typedefs

check-house:
	@scripts/check-house

.PHONY: $(OWN_GOALS)

else

OBJS = $(sort $(patsubst %.c,%.o,$(filter-out src/proto/%,$(wildcard src/*.c src/*/*.c))) src/proto/temporal.pb-c.o)

# The install script is written in parts, one topic a file, in this order.
SQL_PARTS = $(addprefix src/sql/, schema.sql internals.sql tables.sql fdw.sql payload.sql verbs.sql triggers.sql views.sql recorded_activities.sql statistics.sql scripts.sql pause.sql repair.sql requested.sql health.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type
PG_CPPFLAGS = -I$(srcdir)/src -I$(srcdir)/src/proto -DTC_VERSION='"$(EXTVERSION)"'
SHLIB_LINK = -lcjson -lcurl -lnghttp2 -lssl -lcrypto -lprotobuf-c

# The tests look at requests that wait: they need a server with temporal_complete.enabled = off.
REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/[0-9]*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=temporal_complete

EXTRA_CLEAN = $(DATA_built) src/proto/temporal.pb-c.c src/proto/temporal.pb-c.h build

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(wildcard $(PGXS)),)
$(error "$(PG_CONFIG) --pgxs" leads nowhere: install what is needed to build PostgreSQL extensions (Debian: scripts/install-dependencies), or set PG_CONFIG)
endif
include $(PGXS)

$(DATA_built): $(SQL_PARTS) temporal_complete.control
	cat $(SQL_PARTS) > $@

src/proto/temporal.pb-c.c src/proto/temporal.pb-c.h: src/proto/temporal.proto
	protoc-c --proto_path=src/proto --c_out=src/proto temporal.proto

$(OBJS) $(OBJS:.o=.bc): src/proto/temporal.pb-c.h $(wildcard src/*.h src/*/*.h) temporal_complete.control

fuzz:
	$(MAKE) -C test/fuzz fuzz $(if $(TIME),TIME=$(TIME))

check-memory:
	scripts/check-memory $(PARTS)

.PHONY: fuzz check-memory

bench:
	@PG_CONFIG="$(PG_CONFIG)" test/bench/run
.PHONY: bench

endif
