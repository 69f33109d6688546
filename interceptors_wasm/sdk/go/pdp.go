// Package pdp is the SDK for interceptors in Go. It hides the pointers of the ABI and reads JSON in place.
//
// An interceptor is a package main that exports the hooks that it has, and has an empty main:
//
//	//go:wasmexport pdp_configure
//	func onConfigure(_, size uint32) uint64 { return pdp.OnConfigure(size, readConfig) }
//
//	//go:wasmexport pdp_on_request
//	func onRequest(_, size uint32) uint64 { return pdp.OnRequest(size, judge) }
//
//	func main() {}
//
// Each call gets a new instance, and everything that an imported package does when it starts is paid for by every call.
// So this file imports as good as nothing, and an interceptor does well to do the same: fmt, encoding/json, net/netip
// and a regexp.MustCompile at package level each make the start longer by half, or double it.
package pdp

import (
	"math/bits"
	"strconv"
	"unsafe"
)

// --- hooks -------------------------------------------------------------------------------------------------------

// Request is a tool call, or the result of one. The host has checked the JSON: it is well-formed UTF-8 without
// duplicate names.
type Request struct {
	Server, Tool  string
	Arguments     Value // an object
	Result        Value // any value; Missing in the phase request
	ResultIsError bool
	All           Value // the whole request, for what is not here: All.Get("subject").Get("id")
}

// Reply is what a hook answers. The zero Reply is an error: a hook that forgets to answer fails closed.
type Reply struct{ text string }

// OnConfigure runs the hook that reads the binding's configuration. The host calls it before each payload and when
// the interceptor is loaded; an error there is an error of the load, so name the key that is wrong.
func OnConfigure(size uint32, hook func(config Value) error) uint64 {
	if err := hook(take(size)); err != nil {
		return give(Fail(err.Error()).text)
	}
	return give(`{"ok":true}`)
}

// OnRequest runs the hook for a tool call.
func OnRequest(size uint32, hook func(Request) Reply) uint64 {
	return give(hook(readCall(take(size))).text)
}

// OnResponse runs the hook for a result.
func OnResponse(size uint32, hook func(Request) Reply) uint64 {
	request := readCall(take(size))
	request.Result = request.All.Get("result")
	request.ResultIsError, _ = request.All.Get("result_is_error").AsBool()
	return give(hook(request).text)
}

func readCall(all Value) Request {
	call := all.Get("tool_call")
	request := Request{All: all, Arguments: call.Get("arguments")}
	request.Server, _ = call.Get("server").AsString()
	request.Tool, _ = call.Get("tool").AsString()
	return request
}

// Error is an error that is only a text.
type Error string

func (e Error) Error() string { return string(e) }

// --- replies -----------------------------------------------------------------------------------------------------

// Pass lets the payload go on as it is.
func Pass() Reply { return Reply{`{"verdict":"pass"}`} }

// Deny stops the call. The agent may see the message; the reason is for the operator's log.
func Deny(message, reason string) Reply {
	return Reply{`{"verdict":"deny","message":` + Quote(clip(message, 1000)) + `,"reason":` + Quote(clip(reason, 4000)) + `}`}
}

// TransformArguments lets the call go on with other arguments: the text of a JSON object.
func TransformArguments(arguments string) Reply {
	return Reply{`{"verdict":"transform","arguments":` + arguments + `}`}
}

// TransformResult replaces the result: the text of any JSON value.
func TransformResult(result string) Reply {
	return Reply{`{"verdict":"transform","result":` + result + `}`}
}

// Fail says that the interceptor could not judge the call, and why. The binding's `on_error` decides what follows.
func Fail(why string) Reply { return Reply{`{"error":` + Quote(clip(why, 4000)) + `}`} }

// Annotate adds facts for Cedar policies: the text of a JSON object.
func (r Reply) Annotate(annotations string) Reply {
	return Reply{r.text[:len(r.text)-1] + `,"annotations":` + annotations + `}`}
}

// clip cuts a text to at most size bytes, between two characters.
func clip(text string, size int) string {
	if len(text) <= size {
		return text
	}
	for text[size]&0xc0 == 0x80 {
		size--
	}
	return text[:size]
}

// Quote writes a JSON string. Bytes that are no UTF-8 stay what they are: take texts from Value.
func Quote(text string) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(text)+2)
	out = append(out, '"')
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < 0x20:
			out = append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}

// --- JSON values -------------------------------------------------------------------------------------------------

// Kind tells what a Value is.
type Kind byte

const (
	Missing Kind = iota // there is no such member
	Null
	Bool
	Number
	String
	Array
	Object
)

// Value is a JSON value: a place in the request's text. Nothing is parsed before somebody asks, nothing is copied, and
// numbers stay text. Finding a member costs a pass over those before it.
type Value struct {
	document string
	at       int // where the value begins
	end      int // where it ends; 0: nobody has looked for that yet
}

// Parse makes a Value of well-formed JSON text. What is not well-formed gives wrong values or a panic, never more.
func Parse(text string) Value { return Value{text, skipSpace(text, 0), 0} }

// Kind of the value.
func (v Value) Kind() Kind {
	if v.document == "" {
		return Missing
	}
	switch v.document[v.at] {
	case '{':
		return Object
	case '[':
		return Array
	case '"':
		return String
	case 't', 'f':
		return Bool
	case 'n':
		return Null
	}
	return Number
}

// Text is the value as it stands in the request.
func (v Value) Text() string {
	if v.document == "" {
		return ""
	}
	return v.document[v.at:v.after()]
}

// after is the place behind the value.
func (v Value) after() int {
	if v.end != 0 {
		return v.end
	}
	return skipValue(v.document, v.at)
}

// AsString gives the string, with its escapes resolved; false where the value is none.
func (v Value) AsString() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return unescape(v.document[v.at+1 : v.after()-1]), true
}

// AsBool gives the boolean; false, false where the value is none.
func (v Value) AsBool() (value, ok bool) {
	if v.Kind() != Bool {
		return false, false
	}
	return v.document[v.at] == 't', true
}

// AsInt gives the number; false where it is none, or no integer of 64 bits.
func (v Value) AsInt() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(v.Text(), 10, 64)
	return n, err == nil
}

// Get gives the member of that name; Missing where the value has none, or is no object.
func (v Value) Get(name string) Value {
	for member, value := range v.Members() {
		if member == name {
			return value
		}
	}
	return Value{}
}

// Members goes over the members of an object, in their order; over nothing where the value is no object.
func (v Value) Members() func(yield func(name string, value Value) bool) {
	return func(yield func(string, Value) bool) {
		if v.Kind() != Object {
			return
		}
		text, at := v.document, skipSpace(v.document, v.at+1)
		for text[at] != '}' {
			end := skipString(text, at)
			name := unescape(text[at+1 : end-1])
			at = skipSpace(text, skipSpace(text, end)+1) // past the colon
			value := place(text, at)
			if !yield(name, value) {
				return
			}
			at = skipComma(text, value.after())
		}
	}
}

// Elements goes over the elements of an array; over nothing where the value is none.
func (v Value) Elements() func(yield func(Value) bool) {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		text, at := v.document, skipSpace(v.document, v.at+1)
		for text[at] != ']' {
			value := place(text, at)
			if !yield(value) {
				return
			}
			at = skipComma(text, value.after())
		}
	}
}

// Item is one step of Walk.
type Item struct {
	Value Value
	Name  string // of a member; "" for an element
	Depth int    // 1 for the members or elements of the value that is walked
}

// Walk goes over everything inside of a value, at whatever depth, in the order of the text: an object or an array
// first, then what it holds. It is one pass without recursion, so no nesting makes it slow or ends the stack.
func (v Value) Walk() func(yield func(Item) bool) {
	return func(yield func(Item) bool) {
		if kind := v.Kind(); kind != Object && kind != Array {
			return
		}
		text, at, depth, name := v.document, v.at+1, 1, ""
		for depth > 0 {
			at = skipSpace(text, at)
			switch text[at] {
			case '}', ']':
				depth--
				at++
				continue
			case ',':
				at++
				continue
			case '"':
				// A string in front of a colon is a name; nothing else in JSON stands there.
				end := skipString(text, at)
				if next := skipSpace(text, end); text[next] == ':' {
					name = unescape(text[at+1 : end-1])
					at = next + 1
					continue
				}
			}
			value := place(text, at)
			if !yield(Item{value, name, depth}) {
				return
			}
			name = ""
			if text[at] == '{' || text[at] == '[' {
				depth++
				at++
			} else {
				at = value.after()
			}
		}
	}
}

// Edit replaces one value by other JSON text.
type Edit struct {
	Old Value
	New string
}

// Edited is the text of a value with some of the values inside of it replaced. All else stays as it is, byte for byte.
// The edits are in the order of the text, as Members, Elements and Walk give it, and none lies inside of another.
func (v Value) Edited(edits []Edit) string {
	out, at := make([]byte, 0, len(v.document)-v.at), v.at
	for _, edit := range edits {
		out = append(append(out, v.document[at:edit.Old.at]...), edit.New...)
		at = edit.Old.after()
	}
	return string(append(out, v.document[at:v.after()]...))
}

// place is the value at `at`. The end of a string is looked for at once, since whoever asks for one wants it twice.
func place(text string, at int) Value {
	if text[at] == '"' {
		return Value{text, at, skipString(text, at)}
	}
	return Value{text, at, 0}
}

// IndexByte gives the place of a byte in a text, at `from` or behind it; the length of the text where it is not there.
// It takes eight bytes at a time, and so a fifth of the fuel of a plain loop.
func IndexByte(text string, c byte, from int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	begin, wanted := unsafe.Pointer(unsafe.StringData(text)), ones*uint64(c)
	for ; from+8 <= len(text); from += 8 {
		differs := *(*uint64)(unsafe.Add(begin, from)) ^ wanted // a byte of zeros where they are equal
		if found := (differs - ones) &^ differs & tops; found != 0 {
			return from + bits.TrailingZeros64(found)/8
		}
	}
	for from < len(text) && text[from] != c {
		from++
	}
	return from
}

func skipSpace(text string, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
		at++
	}
	return at
}

func skipComma(text string, at int) int {
	at = skipSpace(text, at)
	if text[at] == ',' {
		return skipSpace(text, at+1)
	}
	return at
}

// skipString gives the place after the closing quote of the string that begins at `at`.
func skipString(text string, at int) int {
	for end := at + 1; ; end++ {
		end = IndexByte(text, '"', end)
		before := end
		for text[before-1] == '\\' {
			before--
		}
		if (end-before)%2 == 0 { // an odd number of backslashes makes the quote a part of the string
			return end + 1
		}
	}
}

// skipValue gives the place after the value that begins at `at`.
func skipValue(text string, at int) int {
	for depth := 0; ; {
		switch text[at] {
		case '"':
			at = skipString(text, at)
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ',', ':', ' ', '\n', '\t', '\r': // only inside of an object or an array
			at++
			continue
		default:
			at = skipWord(text, at)
		}
		if depth <= 0 {
			return at
		}
	}
}

// skipWord gives the place after a number, true, false or null.
func skipWord(text string, at int) int {
	for at < len(text) {
		switch text[at] {
		case ',', '}', ']', ' ', '\n', '\t', '\r':
			return at
		}
		at++
	}
	return at
}

// unescape resolves the escapes of a JSON string. Without any, it copies nothing.
func unescape(raw string) string {
	at := IndexByte(raw, '\\', 0)
	if at == len(raw) {
		return raw
	}
	out := append(make([]byte, 0, len(raw)), raw[:at]...)
	for at < len(raw) {
		var size int
		out, size = appendEscape(out, raw[at:])
		next := IndexByte(raw, '\\', at+size)
		out = append(out, raw[at+size:next]...)
		at = next
	}
	return unsafe.String(unsafe.SliceData(out), len(out))
}

// appendEscape appends what the escape means that a text begins with, and gives its length.
func appendEscape(out []byte, text string) ([]byte, int) {
	switch c := text[1]; c {
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	case 'u':
		r := hexadecimal(text[2:6])
		if r>>10 != 0xd800>>10 {
			return append(out, string(r)...), 6
		}
		// The first half of a pair; the host refuses lone halves.
		r = (r-0xd800)<<10 + hexadecimal(text[8:12]) - 0xdc00 + 0x10000
		return append(out, string(r)...), 12
	default:
		return append(out, c), 2
	}
}

func hexadecimal(digits string) rune {
	n, _ := strconv.ParseUint(digits, 16, 32)
	return rune(n)
}

// --- what a binding grants ---------------------------------------------------------------------------------------
//
// A module imports only those of these that it uses, and it is refused where the binding does not grant them.

// Level of a line in the service's log.
type Level int32

const (
	Debug Level = iota
	Info
	Warning
	Failure
)

//go:wasmimport pdp log
func hostLog(level int32, at unsafe.Pointer, size uint32)

//go:wasmimport pdp now_ms
func hostNow() int64

//go:wasmimport pdp random
func hostRandom(at unsafe.Pointer, size uint32) int32

// Log writes to the service's log; 16 KiB at most in one call. Granted by default.
func Log(level Level, text string) {
	hostLog(int32(level), unsafe.Pointer(unsafe.StringData(text)), uint32(len(text)))
}

// NowMillis is the Unix time in milliseconds. Needs the grant `now_ms`.
func NowMillis() int64 { return hostNow() }

// Random fills a slice with random bytes, 64 KiB at most. Needs the grant `random`.
func Random(out []byte) bool {
	return hostRandom(unsafe.Pointer(unsafe.SliceData(out)), uint32(len(out))) == 0
}

// --- the ABI -----------------------------------------------------------------------------------------------------

// Held here so that the collector leaves them alone while only the host knows where they are.
var (
	input  []byte
	output string
)

// The host's own limit is 1 MiB unless it is set higher.
const largestInput = 8 << 20

//go:wasmexport pdp_abi_v1
func abi() {}

//go:wasmexport pdp_alloc
func alloc(size uint32) uint32 {
	if size > largestInput {
		return 0
	}
	input = make([]byte, size+1) // one byte more, so that even an empty input has an address
	return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(input))))
}

// take gives the input as text. It belongs to the module from now on and nobody writes to it again, so no copy is made.
func take(size uint32) Value {
	text := input[:size]
	return Parse(unsafe.String(unsafe.SliceData(text), len(text)))
}

// give gives where a reply lies and how long it is, as the ABI wants it; 0, an error, for no reply.
func give(text string) uint64 {
	if text == "" {
		return 0
	}
	output = text
	return uint64(uintptr(unsafe.Pointer(unsafe.StringData(output))))<<32 | uint64(len(output))
}
