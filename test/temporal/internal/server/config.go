package server

import (
	"crypto/rand"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
)

const (
	clusterName = "active"
	storeName   = "sqlite"

	// httpAPI stands among the services for the HTTP API, which is a port of the frontend.
	httpAPI primitives.ServiceName = "http-api"
)

// services that run. The internal frontend spares the server's own workers TLS and API keys, so that the
// frontend can ask everyone for them.
var services = []primitives.ServiceName{
	primitives.FrontendService,
	primitives.InternalFrontendService,
	primitives.HistoryService,
	primitives.MatchingService,
	primitives.WorkerService,
}

// defaultDynamicConfig switches standalone activities on and lifts limits that are made for many hosts: a test
// that wants a limit sets it.
var defaultDynamicConfig = map[string]any{
	"activity.enableStandalone":                        true,
	"history.enableChasm":                              true,
	"history.enableStandaloneActivityOperatorCommands": true,
	"frontend.rps":                                     1000000,
	"frontend.namespaceRPS":                            1000000,
	"frontend.namespaceRPS.visibility":                 1000000,
	"frontend.namespaceCount":                          1000000,
	"frontend.persistenceMaxQPS":                       1000000,
	"history.rps":                                      1000000,
	"history.persistenceMaxQPS":                        1000000,
	"matching.rps":                                     1000000,
	"matching.persistenceMaxQPS":                       1000000,
	"matching.numTaskqueueReadPartitions":              1,
	"matching.numTaskqueueWritePartitions":             1,
}

func serviceNames() []string {
	names := make([]string, 0, len(services))
	for _, s := range services {
		names = append(names, string(s))
	}
	return names
}

// newStore describes the SQLite database.
func newStore(file string) *config.SQL {
	if file == "" {
		return &config.SQL{
			PluginName:        sqliteplugin.PluginName,
			DatabaseName:      "temporal-" + rand.Text(),
			ConnectAttributes: map[string]string{"mode": "memory", "cache": "shared"},
		}
	}
	return &config.SQL{
		PluginName:   sqliteplugin.PluginName,
		DatabaseName: file,
		// What was written survives the death of the process also without being forced to the disk.
		ConnectAttributes: map[string]string{"mode": "rwc", "journal_mode": "wal", "synchronous": "off"},
	}
}

func (s *Server) config(listen map[primitives.ServiceName]int, store *config.SQL) *config.Config {
	o := s.options
	c := &config.Config{
		Services: map[string]config.Service{},
		Persistence: config.Persistence{
			DefaultStore:     storeName,
			VisibilityStore:  storeName,
			NumHistoryShards: 1,
			DataStores:       map[string]config.DataStore{storeName: {SQL: store}},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {
					Enabled:                true,
					InitialFailoverVersion: 1,
					RPCAddress:             s.Address,
					HTTPAddress:            s.HTTPAddress,
					ClusterID:              uuid.NewSHA1(uuid.Nil, []byte(store.DatabaseName)).String(),
				},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
	}
	c.Global.Membership.MaxJoinDuration = 30 * time.Second
	c.Global.Membership.BroadcastAddress = o.IP
	c.Archival.History.State = "disabled"
	c.Archival.Visibility.State = "disabled"
	c.NamespaceDefaults.Archival.History.State = "disabled"
	c.NamespaceDefaults.Archival.Visibility.State = "disabled"
	for _, name := range services {
		c.Services[string(name)] = config.Service{RPC: config.RPC{GRPCPort: listen[name], BindOnIP: o.IP}}
	}
	if port := listen[httpAPI]; port != 0 {
		frontend := c.Services[string(primitives.FrontendService)]
		frontend.RPC.HTTPPort = port
		c.Services[string(primitives.FrontendService)] = frontend
	}
	c.Global.TLS.Frontend.Server = config.ServerTLS{CertFile: o.TLSCertFile, KeyFile: o.TLSKeyFile}
	if o.TLSClientCAFile != "" {
		c.Global.TLS.Frontend.Server.RequireClientAuth = true
		c.Global.TLS.Frontend.Server.ClientCAFiles = []string{o.TLSClientCAFile}
	}
	return c
}
