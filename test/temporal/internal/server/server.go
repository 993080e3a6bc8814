// Package server embeds the real Temporal server: all its services in one process, over SQLite.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"temporal_complete/test/temporal/internal/fault"
	"temporal_complete/test/temporal/internal/ports"
)

// Options of a server. The zero value of each is a sensible default.
type Options struct {
	// IP to listen on, 127.0.0.1 by default.
	IP string
	// Port of the frontend; 0 takes a free one.
	Port int
	// HTTPPort of the frontend's HTTP API; 0 takes a free one, -1 switches it off.
	HTTPPort int
	// Namespaces to create; "default" by default.
	Namespaces []string
	// DBFile keeps the state in a file, from where a later server goes on; empty keeps it in memory.
	DBFile string
	// TLSCertFile and TLSKeyFile switch TLS on.
	TLSCertFile string
	TLSKeyFile  string
	// TLSClientCAFile requires client certificates of this authority.
	TLSClientCAFile string
	// APIKeys are accepted as "Authorization: Bearer"; without any, everybody is let in.
	APIKeys []string
	// DynamicConfig overrides values of Temporal's dynamic configuration.
	DynamicConfig map[string]any
	// LogLevel is one of Temporal's ("debug", "info", "warn", "error"); empty logs nothing.
	LogLevel string
}

// Server is a running Temporal server.
type Server struct {
	// Address of the frontend, and of its HTTP API unless that is off.
	Address     string
	HTTPAddress string
	// Faults disturbs the frontend and counts what reaches it.
	Faults *fault.Injector

	options  Options
	internal string
	temporal temporal.Server
	dynamic  *dynamicconfig.MemoryClient
}

// Start starts a server and returns when it answers.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.IP == "" {
		o.IP = "127.0.0.1"
	}
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"default"}
	}
	listen, err := assignPorts(o)
	if err != nil {
		return nil, err
	}
	store, err := openStore(o)
	if err != nil {
		return nil, err
	}

	s := &Server{
		Address:  hostPort(o.IP, listen[primitives.FrontendService]),
		Faults:   fault.NewInjector(listen[primitives.InternalFrontendService]),
		options:  o,
		internal: hostPort(o.IP, listen[primitives.InternalFrontendService]),
		dynamic:  dynamicconfig.NewMemoryClient(),
	}
	if p := listen[httpAPI]; p != 0 {
		s.HTTPAddress = hostPort(o.IP, p)
	}
	for key, value := range defaultDynamicConfig {
		s.SetDynamicConfig(key, value)
	}
	for key, value := range o.DynamicConfig {
		s.SetDynamicConfig(key, value)
	}

	hosts := map[primitives.ServiceName]static.Hosts{}
	for _, name := range services {
		hosts[name] = static.SingleLocalHost(hostPort(o.IP, listen[name]))
	}
	s.temporal, err = temporal.NewServer(
		temporal.WithConfig(s.config(listen, store)),
		temporal.ForServices(serviceNames()),
		temporal.WithStaticHosts(hosts),
		temporal.WithLogger(newLogger(o.LogLevel)),
		temporal.WithAuthorizer(newAuthorizer(o.APIKeys)),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return newClaimMapper(o.APIKeys) }),
		temporal.WithDynamicConfigClient(s.dynamic),
		temporal.WithChainedFrontendGrpcInterceptors(s.Faults.Intercept),
	)
	if err != nil {
		return nil, fmt.Errorf("configure Temporal: %w", err)
	}
	if err := s.temporal.Start(); err != nil {
		return nil, fmt.Errorf("start Temporal: %w", err)
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// SetDynamicConfig changes a value of the dynamic configuration. Some of Temporal's settings are read at start
// only.
func (s *Server) SetDynamicConfig(key string, value any) {
	// JSON knows no integers, and Temporal's integer settings take nothing else.
	if f, ok := value.(float64); ok && f == float64(int64(f)) {
		value = int(f)
	}
	s.dynamic.OverrideValue(settingKey(key), value)
}

// Stop stops the server.
func (s *Server) Stop() error {
	return s.temporal.Stop()
}

// awaitReady asks by the internal frontend, where no credentials are needed, for the namespaces; then the
// frontend itself for its health, unless it wants a client certificate.
func (s *Server) awaitReady(ctx context.Context) error {
	inside, err := grpc.NewClient(s.internal, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer inside.Close()
	for _, ns := range s.options.Namespaces {
		err := retry(ctx, func(ctx context.Context) error {
			_, err := workflowservice.NewWorkflowServiceClient(inside).DescribeNamespace(ctx,
				&workflowservice.DescribeNamespaceRequest{Namespace: ns})
			return err
		})
		if err != nil {
			return fmt.Errorf("namespace %s: %w", ns, err)
		}
	}

	if s.options.TLSClientCAFile != "" {
		return retry(ctx, func(context.Context) error {
			conn, err := net.DialTimeout("tcp", s.Address, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		})
	}
	security := insecure.NewCredentials()
	if s.options.TLSCertFile != "" {
		security = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // asks itself
	}
	outside, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(security))
	if err != nil {
		return err
	}
	defer outside.Close()
	return retry(ctx, func(ctx context.Context) error {
		reply, err := grpc_health_v1.NewHealthClient(outside).Check(ctx,
			&grpc_health_v1.HealthCheckRequest{Service: "temporal.api.workflowservice.v1.WorkflowService"})
		if err == nil && reply.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			err = fmt.Errorf("the frontend is %s", reply.GetStatus())
		}
		return err
	})
}

// retry calls again until there is no error or ctx is done.
func retry(ctx context.Context, call func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := call(attempt)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func hostPort(ip string, port int) string {
	return net.JoinHostPort(ip, strconv.Itoa(port))
}

func newLogger(level string) log.Logger {
	if level == "" {
		return log.NewNoopLogger()
	}
	return log.NewZapLogger(log.BuildZapLogger(log.Config{Stdout: false, Level: level, Format: "console"}))
}

// assignPorts gives every service, and the HTTP API, a port.
func assignPorts(o Options) (map[primitives.ServiceName]int, error) {
	free, err := ports.Free(o.IP, len(services)+1)
	if err != nil {
		return nil, err
	}
	listen := map[primitives.ServiceName]int{}
	for n, name := range services {
		listen[name] = free[n]
	}
	if o.Port != 0 {
		listen[primitives.FrontendService] = o.Port
	}
	switch {
	case o.HTTPPort > 0:
		listen[httpAPI] = o.HTTPPort
	case o.HTTPPort == 0:
		listen[httpAPI] = free[len(services)]
	}
	return listen, nil
}

// openStore makes the database if it is not there yet, with its namespaces.
func openStore(o Options) (*config.SQL, error) {
	store := newStore(o.DBFile)
	if o.DBFile != "" {
		if _, err := os.Stat(o.DBFile); os.IsNotExist(err) {
			if err := sqlite.SetupSchema(store); err != nil {
				return nil, fmt.Errorf("create %s: %w", o.DBFile, err)
			}
		}
	}
	for _, name := range o.Namespaces {
		ns, err := sqlite.NewNamespaceConfig(clusterName, name, false, nil)
		if err != nil {
			return nil, err
		}
		if err := sqlite.CreateNamespaces(store, ns); err != nil {
			return nil, err
		}
	}
	return store, nil
}
