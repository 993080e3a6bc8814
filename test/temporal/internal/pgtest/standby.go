package pgtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby makes a streaming standby and starts it. It is a cluster of its own, with the same settings.
func (c *Cluster) Standby(ctx context.Context) (*Cluster, error) {
	s, err := c.standbyDirectory()
	if err != nil {
		return nil, err
	}
	backup, err := s.command("pg_basebackup", "--dbname="+c.DSN("postgres"), "--pgdata="+s.data(),
		"--wal-method=stream", "--checkpoint=fast", "--no-sync", "--write-recovery-conf")
	if err == nil {
		var text []byte
		if text, err = backup.CombinedOutput(); err != nil {
			err = fmt.Errorf("pg_basebackup: %w\n%s", err, text)
		}
	}
	if err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Remove())
	}
	return s, nil
}

func (c *Cluster) standbyDirectory() (*Cluster, error) {
	dir, err := os.MkdirTemp(FastDir(), "temporal-complete-")
	if err != nil {
		return nil, err
	}
	s := &Cluster{Dir: dir, bindir: c.bindir, settings: maps.Clone(c.settings)}
	s.settings["unix_socket_directories"] = dir
	return s, s.own()
}

// Promote makes a primary of a standby.
func (c *Cluster) Promote(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, c.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // nothing depends on it
	var promoted bool
	err = conn.QueryRow(ctx, "SELECT pg_promote()").Scan(&promoted)
	if err == nil && !promoted {
		err = errors.New("the standby was not promoted in time")
	}
	return err
}

// Kill ends the postmaster without letting it do anything more. The other processes notice that.
func (c *Cluster) Kill() error { return c.server.Stop(syscall.SIGKILL, time.Minute) }
