// Package pdp asks a policy decision point whether an agent may call a tool.
//
// Only DECISION_ALLOW is an allow, so ask [Allowed] and nothing else. A denial is an answer; an error is never an allow.
package pdp

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"pdp/clients/go/pdpv1"
)

// errorDomain is the domain of the google.rpc.ErrorInfo that the service attaches to its errors.
const errorDomain = "pdp.v1"

//go:embed service_config.json
var serviceConfig string

// ServiceConfig returns the gRPC service config by which every client retries: only on UNAVAILABLE, three attempts.
func ServiceConfig() string { return serviceConfig }

// Client asks one service over one connection, which it makes with the first call, keeps, and makes again when it is
// lost. Any number of goroutines may use it.
//
// Its calls return the status errors of gRPC, for [status.Code] and [ErrorInfo]. A deadline of the caller's context
// bounds a call; where the context has none, the client's does.
type Client struct {
	pdpv1.DecisionServiceClient
	connection *grpc.ClientConn
}

// New returns a client of the service at target: `host:port`, `[v6]:port`, `unix:/path` or `dns:///host:port`. It does
// not wait for a connection. Without [WithTLS] the connection is in clear.
func New(target string, options ...Option) (*Client, error) {
	s := settings{deadline: time.Second, maxReceiveBytes: 16 << 20}
	for _, option := range options {
		if err := option(&s); err != nil {
			return nil, err
		}
	}
	if target == "" {
		return nil, errors.New("the target is empty")
	}
	if s.key != "" && s.tls == nil && !isLocal(target) {
		return nil, fmt.Errorf("the bearer key would go to `%s` in clear: use TLS, a unix socket or a loopback address", target)
	}
	connection, err := grpc.NewClient(target, s.dialOptions()...)
	if err != nil {
		return nil, err
	}
	return &Client{pdpv1.NewDecisionServiceClient(connection), connection}, nil
}

// Close ends the connection and every call that still waits.
func (c *Client) Close() error { return c.connection.Close() }

// Option changes one setting of a [Client].
type Option func(*settings) error

// WithDeadline bounds the calls whose context has no deadline of its own; 1 s by default. It must be greater than 0.
func WithDeadline(deadline time.Duration) Option {
	return func(s *settings) error {
		if deadline <= 0 {
			return fmt.Errorf("the deadline is `%s`; it must be greater than 0", deadline)
		}
		s.deadline = deadline
		return nil
	}
}

// WithMaxReceiveBytes sets how large an answer may be; 16 MiB by default. A larger one is RESOURCE_EXHAUSTED.
func WithMaxReceiveBytes(limit int) Option {
	return func(s *settings) error {
		if limit <= 0 {
			return fmt.Errorf("the largest answer is `%d` bytes; it must be greater than 0", limit)
		}
		s.maxReceiveBytes = limit
		return nil
	}
}

// WithBearer sends the key as `authorization: Bearer <key>` with each call. Without TLS, [New] refuses it for any target
// but a unix socket and a loopback address.
func WithBearer(key string) Option {
	return func(s *settings) error {
		// An empty key is more often a lost secret than none. The text must not have the key in it.
		if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return errors.New("the bearer key is empty or has characters that a header cannot carry")
		}
		s.key = key
		return nil
	}
}

// TLS tells whom to trust and what to show. All files are PEM, as [os.ReadFile] gives them. The zero value trusts the
// system's roots and shows nothing.
type TLS struct {
	CA          []byte // the certificates to trust; nil: the system's roots
	Certificate []byte // the client's certificate chain, for mutual TLS; together with Key
	Key         []byte
	ServerName  string // the name in the service's certificate; empty: the host of the target
}

// WithTLS connects with TLS, and with mutual TLS where t has a certificate.
func WithTLS(t TLS) Option {
	return func(s *settings) error {
		config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
		// Given but empty is a file that lost its content: it must not fall back to what is there without it.
		if t.CA != nil {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(t.CA) {
				return errors.New("the CA has no certificate in PEM")
			}
		}
		if t.Certificate != nil || t.Key != nil {
			pair, err := tls.X509KeyPair(t.Certificate, t.Key)
			if err != nil {
				return fmt.Errorf("the client's certificate and key: %w", err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		s.tls = config
		return nil
	}
}

type settings struct {
	deadline        time.Duration
	maxReceiveBytes int
	key             string
	tls             *tls.Config
}

func (s *settings) dialOptions() []grpc.DialOption {
	transport := insecure.NewCredentials()
	if s.tls != nil {
		transport = credentials.NewTLS(s.tls)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(serviceConfig),
		// One from DNS could ask for other retries, or for none.
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(s.maxReceiveBytes)),
		grpc.WithUnaryInterceptor(within(s.deadline)),
		// The service permits a ping every 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 5 * time.Second, PermitWithoutStream: true}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second, // the default, 20 s, is long for an address that swallows packets
		}),
	}
	if s.tls == nil {
		// A proxy of the environment would read everything, and could answer.
		options = append(options, grpc.WithNoProxy())
	}
	if s.key != "" {
		header := map[string]string{"authorization": "Bearer " + s.key}
		options = append(options, grpc.WithPerRPCCredentials(bearer{func() map[string]string { return header }, s.tls != nil}))
	}
	return options
}

// within bounds every call by deadline whose context does not bound it.
func within(deadline time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, response any, connection *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if _, bounded := ctx.Deadline(); !bounded {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, deadline)
			defer cancel()
		}
		return invoke(ctx, method, request, response, connection, options...)
	}
}

// bearer implements credentials.PerRPCCredentials. It has the header in a function, which no printed form shows.
type bearer struct {
	header   func() map[string]string
	needsTLS bool
}

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return b.header(), nil
}

func (b bearer) RequireTransportSecurity() bool { return b.needsTLS }

// isLocal tells whether what is sent to target in clear stays on this machine. What it does not understand does not.
func isLocal(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	// With a server's name in it, `dns://server/localhost:1` is whatever that server says.
	host, _, err := net.SplitHostPort(strings.TrimPrefix(target, "dns:///"))
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

// Allowed tells whether the answer to Authorize, Intercept or Decide, or to one question of a batch, is an allow: true
// for DECISION_ALLOW alone, so false for nil, DECISION_UNSPECIFIED and every number this package does not know.
func Allowed(response interface{ GetDecision() pdpv1.Decision }) bool {
	return response != nil && response.GetDecision() == pdpv1.Decision_DECISION_ALLOW
}

// ErrorInfo returns what the service says for programs about an error of a call: a reason such as `MISSING_FIELD`, and
// the path of the wrong field, empty where it is none. Without both, ok is false.
func ErrorInfo(err error) (reason, field string, ok bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is && info.GetDomain() == errorDomain {
			return info.GetReason(), info.GetMetadata()["field"], true
		}
	}
	return "", "", false
}

// EntitySubject is a subject that the caller names, such as `Agent` and `coder`; the service must trust it to. Set
// OnBehalfOf on what it returns where it acts for a user.
func EntitySubject(entityType, id string) *pdpv1.Subject {
	return &pdpv1.Subject{Subject: &pdpv1.Subject_Entity{Entity: &pdpv1.EntityUid{Type: entityType, Id: id}}}
}

// TokenSubject is the subject of a JWT, which the service verifies.
func TokenSubject(token string) *pdpv1.Subject {
	return &pdpv1.Subject{Subject: &pdpv1.Subject_Token{Token: token}}
}

// ToolCall is a call of a tool with its arguments as they came: one JSON object, sent byte for byte; nil is `{}`. Set
// SessionId on what it returns where there is one.
func ToolCall(server, tool string, arguments []byte) *pdpv1.ToolCall {
	return &pdpv1.ToolCall{Server: server, Tool: tool, ArgumentsJson: arguments}
}

// Arguments returns the JSON text of a value, for [ToolCall]. Arguments that came as JSON do not need it, and are safer
// without: what [json.Unmarshal] makes of a number in an `any` has 53 bits.
func Arguments(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
