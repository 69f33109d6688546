package pdp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pdp "pdp/clients/go"
	"pdp/clients/go/pdpv1"
)

// service answers Decide by a function, and counts the attempts that reach it.
type service struct {
	pdpv1.UnimplementedDecisionServiceServer
	attempts atomic.Int32
	decide   func(ctx context.Context, attempt int32) (*pdpv1.DecideResponse, error)
}

func (s *service) Decide(ctx context.Context, _ *pdpv1.DecideRequest) (*pdpv1.DecideResponse, error) {
	return s.decide(ctx, s.attempts.Add(1))
}

// serve runs s on a free port until the test ends, and returns its address.
func serve(t *testing.T, s *service, options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	pdpv1.RegisterDecisionServiceServer(server, s)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// client returns a client that is closed when the test ends.
func client(t *testing.T, target string, options ...pdp.Option) *pdp.Client {
	t.Helper()
	c, err := pdp.New(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func allow(context.Context, int32) (*pdpv1.DecideResponse, error) {
	return &pdpv1.DecideResponse{Decision: pdpv1.Decision_DECISION_ALLOW}, nil
}

// Only DECISION_ALLOW is an allow, whatever else may come.
func TestOnlyAllowIsAllowed(t *testing.T) {
	for decision, want := range map[pdpv1.Decision]bool{
		pdpv1.Decision_DECISION_UNSPECIFIED: false,
		pdpv1.Decision_DECISION_ALLOW:       true,
		pdpv1.Decision_DECISION_DENY:        false,
		99:                                  false,
		-1:                                  false,
	} {
		if got := pdp.Allowed(&pdpv1.AuthorizeResponse{Decision: decision}); got != want {
			t.Errorf("Allowed(%v) = %v", decision, got)
		}
	}
	if pdp.Allowed(nil) || pdp.Allowed((*pdpv1.DecideResponse)(nil)) || pdp.Allowed((&pdpv1.AuthorizeBatchResult{}).GetResponse()) {
		t.Error("no response is an allow")
	}
}

// A call is bounded by the client's deadline, or by the one that its own context has.
func TestDeadline(t *testing.T) {
	var left time.Duration
	address := serve(t, &service{decide: func(ctx context.Context, _ int32) (*pdpv1.DecideResponse, error) {
		deadline, bounded := ctx.Deadline()
		if !bounded {
			left = math.MaxInt64
		} else {
			left = time.Until(deadline)
		}
		return allow(ctx, 1)
	}})
	hour, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	for _, c := range []struct {
		name     string
		ctx      context.Context
		options  []pdp.Option
		min, max time.Duration
	}{
		{"the default", context.Background(), nil, 0, time.Second},
		{"the client's", context.Background(), []pdp.Option{pdp.WithDeadline(time.Hour)}, 50 * time.Minute, time.Hour},
		{"the context's", hour, nil, 50 * time.Minute, time.Hour},
	} {
		if _, err := client(t, address, c.options...).Decide(c.ctx, &pdpv1.DecideRequest{}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if left < c.min || left > c.max {
			t.Errorf("%s: the service was left %s", c.name, left)
		}
	}
}

// A service that never answers is an error when the client's deadline is over, and no response.
func TestNoAnswer(t *testing.T) {
	address := serve(t, &service{decide: func(ctx context.Context, _ int32) (*pdpv1.DecideResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	response, err := client(t, address, pdp.WithDeadline(50*time.Millisecond)).Decide(context.Background(), &pdpv1.DecideRequest{})
	if response != nil || status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, %v", response, err)
	}
}

// UNAVAILABLE is tried again, three times in all; no other error is.
func TestRetries(t *testing.T) {
	for _, c := range []struct {
		code           codes.Code
		failures, want int32
		result         codes.Code
	}{
		{codes.Unavailable, 2, 3, codes.OK},
		{codes.Unavailable, 100, 3, codes.Unavailable},
		{codes.Internal, 100, 1, codes.Internal},
		{codes.ResourceExhausted, 100, 1, codes.ResourceExhausted},
		{codes.PermissionDenied, 100, 1, codes.PermissionDenied},
	} {
		s := &service{decide: func(ctx context.Context, attempt int32) (*pdpv1.DecideResponse, error) {
			if attempt <= c.failures {
				return nil, status.Error(c.code, "no")
			}
			return allow(ctx, attempt)
		}}
		response, err := client(t, serve(t, s)).Decide(context.Background(), &pdpv1.DecideRequest{})
		if status.Code(err) != c.result || s.attempts.Load() != c.want || pdp.Allowed(response) != (c.result == codes.OK) {
			t.Errorf("%d times %v: %v after %d attempts", c.failures, c.code, err, s.attempts.Load())
		}
	}
}

// The reason and the field of an error are found, also behind a retry and a wrapping, but not those of another domain.
func TestErrorInfo(t *testing.T) {
	for _, c := range []struct {
		code          codes.Code
		domain        string
		reason, field string
		ok            bool
	}{
		{codes.InvalidArgument, "pdp.v1", "MISSING_FIELD", "subject", true},
		{codes.Unavailable, "pdp.v1", "MISSING_FIELD", "subject", true},
		{codes.InvalidArgument, "other.v1", "", "", false},
	} {
		refusal, err := status.New(c.code, "no").WithDetails(&errdetails.ErrorInfo{
			Reason: "MISSING_FIELD", Domain: c.domain, Metadata: map[string]string{"field": "subject"},
		})
		if err != nil {
			t.Fatal(err)
		}
		address := serve(t, &service{decide: func(context.Context, int32) (*pdpv1.DecideResponse, error) { return nil, refusal.Err() }})
		_, err = client(t, address).Decide(context.Background(), &pdpv1.DecideRequest{})
		for _, err := range []error{err, fmt.Errorf("asking: %w", err)} {
			reason, field, ok := pdp.ErrorInfo(err)
			if reason != c.reason || field != c.field || ok != c.ok {
				t.Errorf("%v: got `%s`, `%s`, %v", err, reason, field, ok)
			}
		}
	}
	for _, err := range []error{nil, errors.New("other"), context.DeadlineExceeded} {
		if _, _, ok := pdp.ErrorInfo(err); ok {
			t.Errorf("`%v` has an ErrorInfo", err)
		}
	}
}

// An answer that is larger than the client takes is an error.
func TestMaxReceiveBytes(t *testing.T) {
	address := serve(t, &service{decide: allow})
	_, err := client(t, address, pdp.WithMaxReceiveBytes(1)).Decide(context.Background(), &pdpv1.DecideRequest{})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

// A bearer key is sent with each call.
func TestBearerIsSent(t *testing.T) {
	var got []string
	address := serve(t, &service{decide: func(ctx context.Context, _ int32) (*pdpv1.DecideResponse, error) {
		headers, _ := metadata.FromIncomingContext(ctx)
		got = headers.Get("authorization")
		return allow(ctx, 1)
	}})
	if _, err := client(t, address, pdp.WithBearer("key")).Decide(context.Background(), &pdpv1.DecideRequest{}); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0] != "Bearer key" {
		t.Errorf("the service got %q", got)
	}
}

// Without TLS a bearer key goes nowhere but to this machine, and a target that is not understood is elsewhere.
func TestBearerInClear(t *testing.T) {
	for _, target := range []string{
		"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "LocalHost:1", "dns:///localhost:1", "dns:///127.0.0.1:1", "unix:/tmp/pdp.sock",
	} {
		client(t, target, pdp.WithBearer("key"))
	}
	for _, target := range []string{
		"pdp.test:1", "10.0.0.1:1", "0.0.0.0:1", "[::]:1", "[2001:db8::1]:1", "128.0.0.1:1", "127.1:1", "2130706433:1",
		"localhost.pdp.test:1", "127.0.0.1.pdp.test:1", "pdp.test:1#127.0.0.1:1", "localhost", "127.0.0.1",
		"dns:///pdp.test:1", "dns://10.0.0.1/localhost:1", "dns://localhost:1/pdp.test:1", "passthrough:///pdp.test:1",
		"unix.pdp.test:1", "localhost@pdp.test:1", " localhost:1", "",
	} {
		if _, err := pdp.New(target, pdp.WithBearer("key")); err == nil {
			t.Errorf("`%s` gets the key in clear", target)
		}
		if target == "" {
			continue
		}
		if c, err := pdp.New(target, pdp.WithBearer("key"), pdp.WithTLS(pdp.TLS{})); err != nil {
			t.Errorf("`%s` with TLS: %v", target, err)
		} else {
			c.Close()
		}
	}
}

// The bearer key is in no printed form of a client, and in no error.
func TestBearerIsNotPrinted(t *testing.T) {
	const key = "do-not-print"
	c := client(t, "127.0.0.1:1", pdp.WithBearer(key))
	_, failed := c.Decide(context.Background(), &pdpv1.DecideRequest{})
	_, refused := pdp.New("pdp.test:1", pdp.WithBearer(key))
	_, malformed := pdp.New("127.0.0.1:1", pdp.WithBearer(key+"\n"))
	for _, err := range []error{failed, refused, malformed} {
		if err == nil {
			t.Error("there is no error")
		}
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(strings.Repeat(format, 5), c, *c, failed, refused, malformed); strings.Contains(text, key) {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// What cannot be meant is refused when the client is made.
func TestRefusedOptions(t *testing.T) {
	for name, option := range map[string]pdp.Option{
		"no deadline":          pdp.WithDeadline(0),
		"negative deadline":    pdp.WithDeadline(-time.Second),
		"no answer":            pdp.WithMaxReceiveBytes(0),
		"empty key":            pdp.WithBearer(""),
		"key with a newline":   pdp.WithBearer("a\r\nx: y"),
		"key that is not text": pdp.WithBearer("\xff"),
		"empty CA":             pdp.WithTLS(pdp.TLS{CA: []byte{}}),
		"CA without PEM":       pdp.WithTLS(pdp.TLS{CA: []byte("x")}),
	} {
		if _, err := pdp.New("127.0.0.1:1", option); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Arguments keep every digit and every character.
func TestArguments(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{map[string]any{"n": int64(math.MaxInt64), "text": "é <&> \u2028"}, `{"n":9223372036854775807,"text":"é <&> \u2028"}`},
		{json.RawMessage(`{"n":9007199254740993}`), `{"n":9007199254740993}`},
		{struct{}{}, `{}`},
	} {
		got, err := pdp.Arguments(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("Arguments(%v) = `%s`, %v", c.value, got, err)
		}
	}
	if _, err := pdp.Arguments(math.NaN()); err == nil {
		t.Error("NaN became JSON")
	}
	raw := `{ "b": 1.0, "a": 1e2 }`
	if got := pdp.ToolCall("git", "git_commit", []byte(raw)).GetArgumentsJson(); string(got) != raw {
		t.Errorf("got `%s`", got)
	}
}

// A service on a unix socket answers.
func TestUnixSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pdpv1.RegisterDecisionServiceServer(server, &service{decide: allow})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	response, err := client(t, "unix:"+socket, pdp.WithBearer("key")).Decide(context.Background(), &pdpv1.DecideRequest{})
	if err != nil || !pdp.Allowed(response) {
		t.Errorf("got %v, %v", response, err)
	}
}

// The page shows the example that compiles.
func TestReadmeShowsTheExample(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example/main.go")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(example), "func main() {")
	if !strings.Contains(string(page), "func main() {"+program) {
		t.Error("README.md does not have the function `main` of example/main.go")
	}
}
