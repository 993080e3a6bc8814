package server

import (
	"crypto/subtle"
	"strings"

	"go.temporal.io/server/common/authorization"
)

// keyMapper gives the bearer of an API key all permissions, and others none.
type keyMapper struct {
	keys []string
}

func newClaimMapper(keys []string) authorization.ClaimMapper {
	if len(keys) == 0 {
		return authorization.NewNoopClaimMapper()
	}
	return &keyMapper{keys: keys}
}

// newAuthorizer returns the authorizer that Temporal's own configuration calls "default" once there are keys.
func newAuthorizer(keys []string) authorization.Authorizer {
	if len(keys) == 0 {
		return authorization.NewNoopAuthorizer()
	}
	return authorization.NewDefaultAuthorizer()
}

// GetClaims implements authorization.ClaimMapper.
func (m *keyMapper) GetClaims(info *authorization.AuthInfo) (*authorization.Claims, error) {
	token, ok := strings.CutPrefix(info.AuthToken, "Bearer ")
	if !ok {
		return nil, nil
	}
	for _, key := range m.keys {
		if subtle.ConstantTimeCompare([]byte(key), []byte(token)) == 1 {
			return &authorization.Claims{Subject: "api-key", System: authorization.RoleAdmin}, nil
		}
	}
	return nil, nil
}
