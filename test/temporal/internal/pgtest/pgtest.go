// Package pgtest runs throw-away PostgreSQL clusters.
//
// They listen on a socket in their own directory, so that there is no port to collide on. The binaries are those
// of pg_config (environment variable PG_CONFIG). An extension that was installed with DESTDIR is found there if
// EXTENSION_DESTDIR says so (Debian's PostgreSQL only).
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"temporal_complete/test/temporal/internal/child"
)

// Cluster is a PostgreSQL of its own.
type Cluster struct {
	// Dir holds all of it, for everyone to read; other files of a test may go there too.
	Dir string

	bindir   string
	settings map[string]string
	server   *child.Process
}

// defaultSettings are for speed where the machine does not lose power.
var defaultSettings = map[string]string{
	"listen_addresses":     "",
	"fsync":                "off",
	"max_worker_processes": "32",
	"max_connections":      "200",
	"log_line_prefix":      "%m [%p] %b ",

	"temporal_complete.max_workers": "32",
}

// New makes a cluster and starts it.
func New(ctx context.Context, settings map[string]string) (*Cluster, error) {
	bindir, err := pgConfig("--bindir")
	if err != nil {
		return nil, err
	}
	if err := extensionInstalled(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(FastDir(), "temporal-complete-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, bindir: bindir, settings: map[string]string{"unix_socket_directories": dir}}
	for _, some := range []map[string]string{defaultSettings, destdirSettings(), settings} {
		for name, value := range some {
			c.settings[name] = value
		}
	}
	if err := c.create(ctx); err != nil {
		return nil, errors.Join(err, c.Remove())
	}
	return c, nil
}

func (c *Cluster) create(ctx context.Context) error {
	if err := c.own(); err != nil {
		return err
	}
	initdb, err := c.command("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8",
		"--locale=C", "--pgdata="+c.data())
	if err != nil {
		return err
	}
	if text, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, text)
	}
	return c.Start(ctx)
}

// own gives the directory to the user as whom PostgreSQL runs.
func (c *Cluster) own() error {
	if err := Own(c.Dir); err != nil {
		return err
	}
	return os.Chmod(c.Dir, 0o755)
}

// Own gives a file or directory to the user as whom PostgreSQL runs.
func Own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	return os.Chown(path, uid, gid)
}

// Start starts a cluster that was stopped and waits until it accepts connections.
func (c *Cluster) Start(ctx context.Context) error {
	arguments := []string{"-D", c.data()}
	for name, value := range c.settings {
		arguments = append(arguments, "-c", name+"="+value)
	}
	postgres, err := c.command("postgres", arguments...)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	postgres.Stdout, postgres.Stderr = log, log
	if c.server, err = child.Start(postgres, syscall.SIGQUIT); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.server.Ended():
			return fmt.Errorf("PostgreSQL did not start:\n%s", c.Log())
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, c.Log())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Stop stops the cluster: SIGINT is the fast way, SIGQUIT the immediate one.
func (c *Cluster) Stop(how syscall.Signal) error {
	return c.server.Stop(how, time.Minute)
}

// Remove stops the cluster and deletes it.
func (c *Cluster) Remove() error {
	var err error
	if c.server != nil {
		err = c.Stop(syscall.SIGINT)
	}
	return errors.Join(err, os.RemoveAll(c.Dir))
}

// PID of the postmaster.
func (c *Cluster) PID() int { return c.server.PID() }

// DSN of a database, for its superuser.
func (c *Cluster) DSN(database string) string { return c.DSNFor("postgres", database) }

// DSNFor is the DSN of a database, for a role.
func (c *Cluster) DSNFor(role, database string) string {
	dsn := fmt.Sprintf("host=%s user=%s dbname=%s", c.Dir, role, database)
	if port := c.settings["port"]; port != "" {
		dsn += " port=" + port
	}
	return dsn
}

// Log returns all that the server wrote to its log.
func (c *Cluster) Log() string {
	text, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (c *Cluster) data() string    { return filepath.Join(c.Dir, "data") }
func (c *Cluster) logFile() string { return filepath.Join(c.Dir, "log") }

// command makes a command that is carried out by a user whom PostgreSQL accepts.
func (c *Cluster) command(name string, arguments ...string) (*exec.Cmd, error) {
	cmd := exec.Command(filepath.Join(c.bindir, name), arguments...)
	cmd.Dir = c.Dir
	if os.Geteuid() != 0 {
		return cmd, nil
	}
	return cmd, child.As(cmd, "postgres")
}

// FastDir is in memory where there is such a place, unless TMPDIR names another: containers have little of it.
func FastDir() string {
	if info, err := os.Stat("/dev/shm"); os.Getenv("TMPDIR") == "" && err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return os.TempDir()
}

func pgConfig(option string) (string, error) {
	program := os.Getenv("PG_CONFIG")
	if program == "" {
		program = "pg_config"
	}
	text, err := exec.Command(program, option).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", program, option, err)
	}
	return strings.TrimSpace(string(text)), nil
}

func extensionInstalled() error {
	share, err := pgConfig("--sharedir")
	if err != nil {
		return err
	}
	control := filepath.Join(os.Getenv("EXTENSION_DESTDIR"), share, "extension", "temporal_complete.control")
	if _, err := os.Stat(control); err != nil {
		return fmt.Errorf("the extension is not installed, run \"make install\" first: %w", err)
	}
	return nil
}

func destdirSettings() map[string]string {
	destdir := os.Getenv("EXTENSION_DESTDIR")
	if destdir == "" {
		return nil
	}
	libdir, err := pgConfig("--pkglibdir")
	if err != nil {
		return nil
	}
	return map[string]string{
		"extension_destdir":    destdir,
		"dynamic_library_path": filepath.Join(destdir, libdir) + ":$libdir",
	}
}
