// Command example asks the service of `make run` whether an agent may write a file.
package main

import (
	"context"
	"fmt"
	"log"

	pdp "pdp/clients/go"
	"pdp/clients/go/pdpv1"
)

func main() {
	client, err := pdp.New("127.0.0.1:7437")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	answer, err := client.Decide(context.Background(), &pdpv1.DecideRequest{
		Subject:  pdp.EntitySubject("Agent", "coder"),
		ToolCall: pdp.ToolCall("filesystem", "write_file", []byte(`{"path": "/srv/../etc/passwd", "content": "x"}`)),
	})
	if err != nil {
		log.Fatal(err) // no decision, so the tool is not called
	}
	if !pdp.Allowed(answer) {
		fmt.Println("denied:", answer.GetDenial().GetCode(), answer.GetDenial().GetMessage())
		return
	}
	fmt.Printf("call the tool with %s\n", answer.GetArgumentsJson())
}
