package pdp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	pdp "pdp/clients/go"
	"pdp/clients/go/pdpv1"
)

// authority is a CA that is made for one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pem         []byte
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	certificate, key := sign(t, template, nil, nil)
	return authority{certificate, key, inPEM("CERTIFICATE", certificate.Raw)}
}

// issue returns a certificate for pdp.test and its key, in PEM; it serves for servers and for clients.
func (a authority) issue(t *testing.T) (certificate, key []byte) {
	t.Helper()
	signed, private := sign(t, &x509.Certificate{
		DNSNames:    []string{"pdp.test"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.certificate, a.key)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", signed.Raw), inPEM("PRIVATE KEY", raw)
}

// sign makes a certificate and its key, signed by itself where there is no parent.
func sign(t *testing.T, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if parent == nil {
		parent, signer = template, key
	}
	template.SerialNumber = big.NewInt(1)
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	raw, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

func inPEM(kind string, raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
}

// serveTLS serves with a certificate of trusted, and asks clients for one where mutual.
func serveTLS(t *testing.T, trusted authority, mutual bool) string {
	t.Helper()
	pair, err := tls.X509KeyPair(trusted.issue(t))
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if mutual {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AddCert(trusted.certificate)
	}
	return serve(t, &service{decide: allow}, grpc.Creds(credentials.NewTLS(config)))
}

// A connection is made only to a service with a trusted certificate for the right name, and with what it wants to see.
func TestTLS(t *testing.T) {
	right, wrong := newAuthority(t), newAuthority(t)
	certificate, key := right.issue(t)
	foreign, foreignKey := wrong.issue(t)
	plain := serve(t, &service{decide: allow})
	server, mutual := serveTLS(t, right, false), serveTLS(t, right, true)
	withTLS := func(t pdp.TLS) []pdp.Option { return []pdp.Option{pdp.WithTLS(t), pdp.WithBearer("key")} }
	for name, c := range map[string]struct {
		address string
		options []pdp.Option
		want    codes.Code
	}{
		"right CA":               {server, withTLS(pdp.TLS{CA: right.pem, ServerName: "pdp.test"}), codes.OK},
		"unknown CA":             {server, withTLS(pdp.TLS{CA: wrong.pem, ServerName: "pdp.test"}), codes.Unavailable},
		"the system's roots":     {server, withTLS(pdp.TLS{ServerName: "pdp.test"}), codes.Unavailable},
		"wrong name":             {server, withTLS(pdp.TLS{CA: right.pem, ServerName: "other.test"}), codes.Unavailable},
		"name of the target":     {server, withTLS(pdp.TLS{CA: right.pem}), codes.Unavailable},
		"in clear to TLS":        {server, nil, codes.Unavailable},
		"TLS to clear":           {plain, withTLS(pdp.TLS{CA: right.pem, ServerName: "pdp.test"}), codes.Unavailable},
		"mutual":                 {mutual, withTLS(pdp.TLS{CA: right.pem, Certificate: certificate, Key: key, ServerName: "pdp.test"}), codes.OK},
		"mutual, no certificate": {mutual, withTLS(pdp.TLS{CA: right.pem, ServerName: "pdp.test"}), codes.Unavailable},
		"mutual, unknown CA":     {mutual, withTLS(pdp.TLS{CA: right.pem, Certificate: foreign, Key: foreignKey, ServerName: "pdp.test"}), codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			response, err := client(t, c.address, c.options...).Decide(context.Background(), &pdpv1.DecideRequest{})
			if status.Code(err) != c.want || pdp.Allowed(response) != (c.want == codes.OK) {
				t.Errorf("got %v, %v", response, err)
			}
		})
	}
}

// A certificate without its key, and a key without its certificate or of another one, are refused.
func TestHalfAPair(t *testing.T) {
	ca := newAuthority(t)
	certificate, key := ca.issue(t)
	_, other := ca.issue(t)
	for name, settings := range map[string]pdp.TLS{
		"certificate": {Certificate: certificate},
		"key":         {Key: key},
		"other key":   {Certificate: certificate, Key: other},
		"empty key":   {Certificate: certificate, Key: []byte{}},
		"both empty":  {Certificate: []byte{}, Key: []byte{}},
	} {
		if _, err := pdp.New("127.0.0.1:1", pdp.WithTLS(settings)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
