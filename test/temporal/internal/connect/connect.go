// Package connect makes SDK clients from what the command line or a test says about the frontend.
package connect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"os"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
)

// Options say how to reach a frontend. TLS is used as soon as one of its files is named.
type Options struct {
	Address       string
	Namespace     string
	Identity      string
	CAFile        string
	CertFile      string
	KeyFile       string
	TLSServerName string
	APIKey        string
	// Codec of all payloads, and of messages of failures.
	Codec converter.PayloadCodec
}

// Dial connects to the frontend.
func Dial(ctx context.Context, o Options) (client.Client, error) {
	c := client.Options{
		HostPort:  o.Address,
		Namespace: o.Namespace,
		Identity:  o.Identity,
		Logger:    log.NewStructuredLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
	}
	if o.Codec != nil {
		c.DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), o.Codec)
		c.FailureConverter = temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			DataConverter: c.DataConverter, EncodeCommonAttributes: true,
		})
	}
	security, err := o.tls()
	if err != nil {
		return nil, err
	}
	c.ConnectionOptions.TLS = security
	if o.APIKey != "" {
		c.Credentials = client.NewAPIKeyStaticCredentials(o.APIKey)
		if security == nil {
			// An API key switches TLS on in the SDK.
			c.ConnectionOptions.TLSDisabled = true
		}
	}
	return client.DialContext(ctx, c)
}

func (o Options) tls() (*tls.Config, error) {
	if o.CAFile == "" && o.CertFile == "" {
		return nil, nil
	}
	c := &tls.Config{ServerName: o.TLSServerName, MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
