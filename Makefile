# temporal_complete: finish Temporal activities from SQL

EXTENSION = temporal_complete
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" temporal_complete.control)
MODULE_big = temporal_complete

OBJS = $(sort $(patsubst %.c,%.o,$(wildcard src/*.c)) src/proto/temporal.pb-c.o)

# The install script is written in parts, one topic a file, in this order.
SQL_PARTS = $(addprefix src/sql/, internals.sql tables.sql fdw.sql verbs.sql views.sql scripts.sql)
DATA_built = sql/$(EXTENSION)--$(EXTVERSION).sql

PG_CFLAGS = -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-cast-function-type
PG_CPPFLAGS = -I$(srcdir)/src -I$(srcdir)/src/proto
SHLIB_LINK = -lcurl -lnghttp2 -lssl -lcrypto -lprotobuf-c

REGRESS = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/[0-9]*.sql)))
REGRESS_OPTS = --inputdir=. --load-extension=temporal_complete

EXTRA_CLEAN = $(DATA_built) src/proto/temporal.pb-c.c src/proto/temporal.pb-c.h

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(DATA_built): $(SQL_PARTS) temporal_complete.control
	cat $(SQL_PARTS) > $@

src/proto/temporal.pb-c.c src/proto/temporal.pb-c.h: src/proto/temporal.proto
	protoc-c --proto_path=src/proto --c_out=src/proto temporal.proto

$(OBJS) $(OBJS:.o=.bc): src/proto/temporal.pb-c.h $(wildcard src/*.h)
