//go:build !temporal_1_29

package server

import "go.temporal.io/server/common/dynamicconfig"

func settingKey(name string) dynamicconfig.Key { return dynamicconfig.MakeKey(name) }
