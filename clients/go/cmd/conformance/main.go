// Command conformance does with the client what the conformance cases say: commands on standard input, answers on
// standard output, one JSON object a line. See clients/conformance/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pdp "pdp/clients/go"
	"pdp/clients/go/pdpv1"
)

type command struct {
	ID         json.RawMessage `json:"id"`
	Do         string          `json:"do"`
	Client     string          `json:"client"`
	Target     string          `json:"target"`
	Options    options         `json:"options"`
	Method     string          `json:"method"`
	Request    []byte          `json:"request"`
	DeadlineMs *int64          `json:"deadline_ms"`
}

type options struct {
	DeadlineMs      *int64  `json:"deadline_ms"`
	MaxReceiveBytes *int    `json:"max_receive_bytes"`
	Bearer          *string `json:"bearer"`
	TLS             *struct {
		CA          string `json:"ca"`
		Certificate string `json:"certificate"`
		Key         string `json:"key"`
		ServerName  string `json:"server_name"`
	} `json:"tls"`
}

type answer map[string]any

// rpcError is an error that the client returned, as against one of the runner.
type rpcError struct{ error }

func main() {
	log.SetFlags(0)
	clients := map[string]*pdp.Client{}
	input := bufio.NewReader(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for {
		line, err := input.ReadBytes('\n')
		if len(line) > 0 {
			if err := output.Encode(obey(clients, line)); err != nil {
				log.Fatal(err)
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// obey carries out the command of one line and returns its answer, with the command's id.
func obey(clients map[string]*pdp.Client, line []byte) answer {
	var c command
	err := json.Unmarshal(line, &c)
	var reply answer
	if err == nil {
		reply, err = do(clients, c)
	}
	if err != nil {
		reply = answer{"failed": err.Error()}
	}
	reply["id"] = c.ID
	return reply
}

func do(clients map[string]*pdp.Client, c command) (answer, error) {
	if c.Do == "describe" {
		return answer{"language": "go", "service_config": json.RawMessage(pdp.ServiceConfig())}, nil
	}
	if c.Do == "open" {
		client, err := open(c.Target, c.Options)
		if err != nil {
			return answer{"refused": err.Error()}, nil
		}
		clients[c.Client] = client
		return answer{"opened": true}, nil
	}
	client, ok := clients[c.Client]
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no client `%s`, or no command `%s`", c.Client, c.Do)
	case c.Do == "call":
		return call(client, c)
	case c.Do == "close":
		delete(clients, c.Client)
		return answer{"closed": true}, client.Close()
	}
	return nil, fmt.Errorf("there is no command `%s`", c.Do)
}

func open(target string, o options) (*pdp.Client, error) {
	var chosen []pdp.Option
	if o.DeadlineMs != nil {
		chosen = append(chosen, pdp.WithDeadline(time.Duration(*o.DeadlineMs)*time.Millisecond))
	}
	if o.MaxReceiveBytes != nil {
		chosen = append(chosen, pdp.WithMaxReceiveBytes(*o.MaxReceiveBytes))
	}
	if o.Bearer != nil {
		chosen = append(chosen, pdp.WithBearer(*o.Bearer))
	}
	if o.TLS != nil {
		settings := pdp.TLS{ServerName: o.TLS.ServerName}
		for content, path := range map[*[]byte]string{
			&settings.CA: o.TLS.CA, &settings.Certificate: o.TLS.Certificate, &settings.Key: o.TLS.Key,
		} {
			var err error
			if path == "" {
				continue
			}
			if *content, err = os.ReadFile(path); err != nil {
				return nil, err
			}
		}
		chosen = append(chosen, pdp.WithTLS(settings))
	}
	return pdp.New(target, chosen...)
}

func call(client *pdp.Client, c command) (answer, error) {
	ctx := context.Background()
	if c.DeadlineMs != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*c.DeadlineMs)*time.Millisecond)
		defer cancel()
	}
	response, err := ask(ctx, client, c.Method, c.Request)
	if failure := (rpcError{}); errors.As(err, &failure) {
		return answer{"error": described(failure.error)}, nil
	}
	if err != nil {
		return nil, err
	}
	serialized, err := proto.Marshal(response)
	if err != nil {
		return nil, err
	}
	reply := answer{"response": serialized}
	judge(reply, response)
	return reply, nil
}

// ask calls a method by its name; the error is an rpcError if it came from the client.
func ask(ctx context.Context, client *pdp.Client, method string, request []byte) (proto.Message, error) {
	switch method {
	case "Authorize":
		return send(ctx, client.Authorize, request, &pdpv1.AuthorizeRequest{})
	case "AuthorizeBatch":
		return send(ctx, client.AuthorizeBatch, request, &pdpv1.AuthorizeBatchRequest{})
	case "Intercept":
		return send(ctx, client.Intercept, request, &pdpv1.InterceptRequest{})
	case "Decide":
		return send(ctx, client.Decide, request, &pdpv1.DecideRequest{})
	case "FilterTools":
		return send(ctx, client.FilterTools, request, &pdpv1.FilterToolsRequest{})
	}
	return nil, fmt.Errorf("there is no method `%s`", method)
}

func send[Q, R proto.Message](
	ctx context.Context, rpc func(context.Context, Q, ...grpc.CallOption) (R, error), serialized []byte, request Q,
) (proto.Message, error) {
	if err := proto.Unmarshal(serialized, request); err != nil {
		return nil, err
	}
	response, err := rpc(ctx, request)
	if err != nil {
		return nil, rpcError{err}
	}
	return response, nil
}

// judge adds what the client makes of a response: `allowed` and `denial`, where the response can have them.
func judge(reply answer, response proto.Message) {
	switch r := response.(type) {
	case interface {
		GetDecision() pdpv1.Decision
		GetDenial() *pdpv1.Denial
	}:
		reply["allowed"] = pdp.Allowed(r)
		if denial := r.GetDenial(); denial != nil {
			reply["denial"] = denial.GetCode()
			if name, known := pdpv1.DenialCode_name[int32(denial.GetCode())]; known {
				reply["denial"] = name
			}
		}
	case *pdpv1.AuthorizeBatchResponse:
		allowed := make([]any, len(r.GetResults()))
		for i, result := range r.GetResults() {
			if result.GetError() == nil {
				allowed[i] = pdp.Allowed(result.GetResponse())
			}
		}
		reply["allowed"] = allowed
	}
}

func described(err error) answer {
	message := status.Convert(err).Message()
	// After the last attempt the library puts what it did in front of the status that the service gave.
	var given interface{ GRPCStatus() *status.Status }
	if errors.As(err, &given) {
		message = given.GRPCStatus().Message()
	}
	described := answer{"code": code.Code(status.Code(err)).String(), "message": message}
	if reason, field, ok := pdp.ErrorInfo(err); ok {
		described["reason"] = reason
		if field != "" {
			described["field"] = field
		}
	}
	return described
}
