# shellcheck shell=bash disable=SC2034
# What the scripts of this directory share. To be read with "source".
#
# The scripts need no privileges but one: as root they install what is missing, and run PostgreSQL as the user
# postgres, because it refuses to run as root.

set -euo pipefail

# make starts some of these scripts, and they start make
unset MAKEFLAGS MFLAGS MAKELEVEL

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$top/build
go_version=1.26.8

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die()
{
	warn "error: $*"
	exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# A pg_config whose PostgreSQL extensions can be built for, into the variable PG_CONFIG; false if there is none.
find_pg_config()
{
	local candidate candidates=()

	if [ -n "${PG_CONFIG:-}" ]; then
		candidates=("$PG_CONFIG")
	else
		candidates=(pg_config)
		# Debian: one directory for each version, of which we want the newest
		while IFS= read -r candidate; do
			candidates+=("$candidate")
		done < <(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -rV)
	fi
	for candidate in "${candidates[@]}"; do
		# Debian's client package has PGXS, but not the headers
		if command -v "$candidate" >/dev/null && [ -f "$("$candidate" --pgxs 2>/dev/null)" ] &&
			[ -f "$("$candidate" --includedir-server)/postgres.h" ]; then
			PG_CONFIG=$(command -v "$candidate")
			export PG_CONFIG
			return 0
		fi
	done
	return 1
}

# A Go that can build the module, into the variable GO; false if there is none.
# Since 1.21 Go fetches the version that a module asks for by itself, unless GOTOOLCHAIN forbids it.
find_go()
{
	local candidate version

	for candidate in "${GO:-go}" "$build/go/bin/go" /usr/local/go/bin/go; do
		if ! version=$(cd / && "$candidate" env GOVERSION 2>/dev/null); then
			continue
		fi
		version=${version#go}
		version=${version%%[!0-9.]*}
		if at_least "$version" "$go_version" ||
			{ at_least "$version" 1.21 && [ "$(cd / && "$candidate" env GOTOOLCHAIN)" != local ]; }; then
			GO=$(command -v "$candidate")
			export GO
			return 0
		fi
	done
	return 1
}

# Is version $1 the version $2 or a later one?
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Run a command as a user whom PostgreSQL accepts, from a directory that this user can read.
as_postgres()
{
	if ! is_root; then
		(cd / && "$@")
	elif command -v runuser >/dev/null; then
		(cd / && runuser -u postgres -- "$@")
	else
		(cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@")
	fi
}

# Make a directory for throw-away things that as_postgres() owns; its name into the variable work.
make_work_directory()
{
	work=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/temporal-complete-XXXXXX")
	if is_root; then
		id postgres >/dev/null 2>&1 || die "there is no user postgres to run PostgreSQL as"
		chown postgres: "$work"
	fi
}

# Where tests are fastest: in memory, if a gigabyte of it is free there.
fast_directory()
{
	local free

	free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1) || free=0
	if [ "${free:-0}" -gt 1048576 ] && [ -w /dev/shm ]; then
		say /dev/shm
	else
		say "${TMPDIR:-/tmp}"
	fi
}

# Build the extension. Arguments: further flags for make, such as COPT=-Werror, which stage_extension uses too.
build_extension()
{
	build_flags=("$@")
	find_pg_config || die "no pg_config with PGXS found; run scripts/install-dependencies, or set PG_CONFIG"
	make -C "$top" -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@" all
}

# Install the extension for throw-away servers, without touching the system where PostgreSQL allows that: then under
# the directory $1. The settings that make a server find it go to the file $1/postgresql.conf, which is empty if it
# had to be installed into the system.
stage_extension()
{
	local target=$1 bindir version
	local sharedir pkglibdir

	bindir=$("$PG_CONFIG" --bindir)
	[ -x "$bindir/initdb" ] || die "there is no PostgreSQL server in $bindir; run scripts/install-dependencies"
	sharedir=$("$PG_CONFIG" --sharedir)
	pkglibdir=$("$PG_CONFIG" --pkglibdir)
	version=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
	mkdir -p "$target"
	: >"$target/postgresql.conf"
	staged_in=

	if [ -n "$("$bindir/postgres" --describe-config | grep '^extension_destdir')" ]; then
		staged_in=$target
		cat >"$target/postgresql.conf" <<-END
			extension_destdir = '$target'
			dynamic_library_path = '$target$pkglibdir:\$libdir'
		END
	elif [ "$version" -ge 18 ]; then
		staged_in=$target
		cat >"$target/postgresql.conf" <<-END
			extension_control_path = '$target$sharedir:\$system'
			dynamic_library_path = '$target$pkglibdir:\$libdir'
		END
	elif [ -w "$sharedir/extension" ]; then
		say "This PostgreSQL looks for extensions in its own directories only: installing into $sharedir and $pkglibdir."
	else
		die "this PostgreSQL looks for extensions in $sharedir only, which is not yours to write: run \"make install\" as its owner before"
	fi
	make -C "$top" -s PG_CONFIG="$PG_CONFIG" ${build_flags[@]+"${build_flags[@]}"} \
		${staged_in:+DESTDIR="$staged_in"} install >"$target/install.log" ||
		die "make install failed, see $target/install.log"
	chmod -R a+rX "$target"
}

# Tell pids of our own children to end, and wait until they have.
end_processes()
{
	local pid

	for pid in "$@"; do
		kill -TERM "$pid" 2>/dev/null || true
	done
	for pid in "$@"; do
		for _ in $(seq 200); do
			kill -0 "$pid" 2>/dev/null || break
			sleep 0.05
		done
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
}

# Wait until a file is there, which a process makes when it is ready. $1 file, $2 pid, $3 what it is, $4 its log
await_file()
{
	local deadline=$((SECONDS + 120))

	until [ -s "$1" ]; do
		if ! kill -0 "$2" 2>/dev/null; then
			tail -n 20 "$4" >&2
			die "$3 did not start"
		fi
		[ "$SECONDS" -lt "$deadline" ] || die "$3 is not ready after two minutes, see $4"
		sleep 0.05
	done
}
