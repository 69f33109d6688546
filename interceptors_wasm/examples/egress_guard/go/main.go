// Egress guard: which hosts the tools of an agent may be sent to. Phase: request.
//
// It judges the URLs in the arguments as the most lenient of the programs that may read them would: what two of them read
// in two ways is denied. It sees names and not what they resolve to, and it does not see redirects; a proxy
// that judges the connection itself is the second line.
//
// Configuration, all of it optional:
//
//	schemes             list of strings  default ["https", "http"]
//	allow               list of hosts    Only these. Without it every public host passes, and the names and addresses
//	                                     that lead inside do not (localhost, *.internal, 10.0.0.0/8, 169.254.169.254 …).
//	deny                list of hosts    Never these, whatever else is said. Default none.
//	ports               list of integers Ports that pass beside the scheme's own. Default none.
//	public_ip_literals  boolean          Without `allow`: public addresses in place of names pass. Default false.
//	punycode            boolean          Without `allow`: names with `xn--` pass. Default false: they imitate others.
//	url_arguments       list of strings  Members of the arguments, at whatever depth, that hold a URL or a list of them.
//	host_arguments      list of strings  The same for `host` or `host:port`.
//	required            boolean          A call without any of these members is denied. Default true; set it to false
//	                                     where the binding covers tools that have none.
//	scan                boolean          Look for URLs inside of every string and name as well. Default: true where there
//	                                     are neither url_arguments nor host_arguments. A scan finds what has a scheme or
//	                                     begins with `//` or `\\`, and strings that are an internal address. A host
//	                                     without a scheme (`example.com/x`) it cannot tell from other text.
//
// A host of `allow` or `deny` is `example.com` (this name), `*.example.com` (the names below it), `.example.com` (both),
// an address `192.0.2.7` or `[2001:db8::7]`, or a network `10.0.0.0/8` or `[fd00::/8]`. With a port (`example.com:8443`)
// it is about this port alone. Without one, `deny` means each port and `allow` those that pass anyway. Addresses pass only
// in their usual notation: 127.1, 0x7f000001, 017700000001 and their like are denied whatever `allow` says.
package main

import "pdp"

// guard is the configuration, read.
type guard struct {
	schemes          []string
	allow, deny      []pattern
	hasAllow         bool
	ports            []int
	publicIPLiterals bool
	punycode         bool
	urlArguments     []string
	hostArguments    []string
	required         bool
	scan             bool
}

var configured guard

//go:wasmexport pdp_configure
func onConfigure(_, size uint32) uint64 { return pdp.OnConfigure(size, configured.read) }

//go:wasmexport pdp_on_request
func onRequest(_, size uint32) uint64 { return pdp.OnRequest(size, configured.judge) }

func main() {}

func (g *guard) read(config pdp.Value) (err error) {
	*g = guard{schemes: []string{"https", "http"}, required: true}
	hasScan := false
	for key, value := range config.Members() {
		switch key {
		case "schemes":
			g.schemes, err = stringList(key, value)
		case "allow":
			g.hasAllow = true
			g.allow, err = patternList(key, value)
		case "deny":
			g.deny, err = patternList(key, value)
		case "ports":
			g.ports, err = portList(key, value)
		case "public_ip_literals":
			g.publicIPLiterals, err = boolean(key, value)
		case "punycode":
			g.punycode, err = boolean(key, value)
		case "url_arguments":
			g.urlArguments, err = stringList(key, value)
		case "host_arguments":
			g.hostArguments, err = stringList(key, value)
		case "required":
			g.required, err = boolean(key, value)
		case "scan":
			hasScan = true
			g.scan, err = boolean(key, value)
		default:
			// A key that is misspelt would otherwise leave open what it was to close.
			err = pdp.Error("unknown key `" + key + "`")
		}
		if err != nil {
			return err
		}
	}
	if !hasScan {
		g.scan = !g.hasNamedArguments()
	}
	return nil
}

func (g *guard) hasNamedArguments() bool { return len(g.urlArguments)+len(g.hostArguments) > 0 }

func stringList(key string, value pdp.Value) (list []string, err error) {
	if value.Kind() != pdp.Array {
		return nil, pdp.Error("`" + key + "` has to be a list of strings")
	}
	for element := range value.Elements() {
		text, ok := element.AsString()
		if !ok || text == "" {
			return nil, pdp.Error("`" + key + "` has to be a list of strings that are not empty")
		}
		list = append(list, lower(text))
	}
	return list, nil
}

func patternList(key string, value pdp.Value) (list []pattern, err error) {
	texts, err := stringList(key, value)
	for _, text := range texts {
		read, problem := readPattern(text)
		if problem != "" {
			return nil, pdp.Error("`" + key + "`: `" + text + "` " + problem)
		}
		list = append(list, read)
	}
	return list, err
}

func portList(key string, value pdp.Value) (list []int, err error) {
	if value.Kind() != pdp.Array {
		return nil, pdp.Error("`" + key + "` has to be a list of ports")
	}
	for element := range value.Elements() {
		port, ok := element.AsInt()
		if !ok || port < 1 || port > 65535 {
			return nil, pdp.Error("`" + key + "` has to be a list of integers from 1 to 65535")
		}
		list = append(list, int(port))
	}
	return list, nil
}

func boolean(key string, value pdp.Value) (bool, error) {
	b, ok := value.AsBool()
	if !ok {
		return false, pdp.Error("`" + key + "` has to be true or false")
	}
	return b, nil
}

// What the strings inside of an argument are taken for.
type reading byte

const (
	asText reading = iota
	asURL
	asHost
)

// judge goes over everything in the arguments once. Below a member that is configured to hold URLs or hosts,
// everything has to be one.
func (g *guard) judge(request pdp.Request) pdp.Reply {
	found, as, top, where := false, asText, 0, ""
	for item := range request.Arguments.Walk() {
		if item.Depth <= top {
			as, top = asText, 0
		}
		if as == asText && item.Name != "" {
			if as = g.readingOf(item.Name); as != asText {
				found, top, where = true, item.Depth, item.Name
			}
		}
		if g.scan && item.Name != "" {
			if problem := g.judgeText(item.Name); problem != "" {
				return deny("a name", problem)
			}
		}
		if problem := g.judgeValue(item, as, item.Depth == top); problem != "" {
			if as == asText {
				where = item.Name
			}
			return deny("`"+where+"`", problem)
		}
	}
	if g.required && g.hasNamedArguments() && !found {
		return pdp.Deny("the call has none of the arguments that this guard looks at", "none of `url_arguments` and `host_arguments` is in the call")
	}
	return pdp.Pass()
}

func (g *guard) readingOf(name string) reading {
	name = lower(name) // some servers bind arguments to fields whatever the case
	switch {
	case contains(g.urlArguments, name):
		return asURL
	case contains(g.hostArguments, name):
		return asHost
	}
	return asText
}

// judgeValue gives what is wrong with a value, or "".
func (g *guard) judgeValue(item pdp.Item, as reading, outermost bool) string {
	kind := item.Value.Kind()
	if as == asText && (!g.scan || kind != pdp.String) {
		return ""
	}
	text, isString := item.Value.AsString()
	switch {
	case as == asText:
		return g.judgeText(text)
	case kind == pdp.Array, kind == pdp.Null && outermost:
		return "" // the elements come next; null is an argument that was left out
	case !isString:
		return "is no string"
	case as == asURL:
		if problem := g.judgeURL(text); problem != "" {
			return problem
		}
	default:
		if problem := g.judgeAuthority(text, ""); problem != "" {
			return problem
		}
	}
	if g.scan {
		return g.judgeText(text)
	}
	return ""
}

func deny(where, problem string) pdp.Reply {
	return pdp.Deny("this guard does not let the call out: "+problem, "argument "+where+": "+problem)
}

func lower(text string) string {
	for i := 0; i < len(text); i++ {
		if text[i] >= 'A' && text[i] <= 'Z' {
			out := []byte(text)
			for ; i < len(out); i++ {
				if out[i] >= 'A' && out[i] <= 'Z' {
					out[i] += 'a' - 'A'
				}
			}
			return string(out)
		}
	}
	return text
}

func contains(list []string, text string) bool {
	for _, element := range list {
		if element == text {
			return true
		}
	}
	return false
}
