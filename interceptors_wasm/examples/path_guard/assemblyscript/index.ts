// path_guard: lets a tool call pass only if every path in its arguments stays where it is allowed.
//
// It looks at paths as text: it has no file system, so it cannot see symbolic links. Let the tool's server resolve those,
// or keep links that lead out of the allowed directories from being there. What it cannot judge it denies.
//
// A path is judged as it stands and in every form that a server could turn it into: percent-decoded as often as that
// changes anything, with Unicode lookalikes made plain, as the JSON list that some clients send as text, and, where
// that is allowed, as the `file:` URL that it is. One form that is not allowed is enough.
//
// Configuration:
//
//     paths                  list of the arguments that hold paths: names, or JSON pointers in which `*` stands for every
//                            item or member, as in "/edits/*/path". Names are compared without regard to case, since some
//                            servers take them so. A list of texts under such a name is a list of paths. Default: the
//                            usual names, see DEFAULT_PATHS in settings.ts
//     roots                  list of the directories that absolute paths have to lie in, such as ["/srv/data"]; "/" is
//                            everything. Default [], so that no absolute path is allowed
//     require_path           deny calls that have none of these arguments. Default false
//     denied_names           list of patterns with `*` and `?` for names of files and directories below the roots, without
//                            regard to case. Default: where keys and passwords usually lie, see DENIED_NAMES in settings.ts
//     allowed_names          list of patterns of names that are allowed all the same. Default [".env.example",
//                            ".env.sample", ".env.template", "*.pub"]
//     allow_relative         relative paths, whatever directory the server starts from. Default true
//     allow_hidden           names that begin with a dot. Default true
//     allow_parent_segments  `..`, resolved as text, as long as the result is allowed. Wrong where a directory is a
//                            symbolic link. Default false
//     allow_home             `~`, and variables at the beginning, as in `$HOME/a` and `%TEMP%/a`. Default false
//     allow_file_urls        `file:///srv/data/a`. Default false
//     allow_windows          drives, as in `C:\data`, and backslashes as separators; roots may then be "C:/data", and case
//                            does not matter. Default false
//     allow_unc              `\\server\share\a`, with roots such as "//server/share"; only with allow_windows. Default false
//
// `null` and a missing argument are no path. Patterns of files (globs) are not paths: do not list such arguments.

import { Call, Json, Reply, answered, configured, quote } from "./pdp_interceptor";
import { Settings } from "./settings";
import { Finding, Judge } from "./judge";

export { pdp_abi_v1, pdp_alloc } from "./pdp_interceptor";

let settings: Settings = new Settings();

export function pdp_configure(at: usize, length: usize): u64 {
  return configured(at, length, (config: Json): string => settings.read(config));
}

export function pdp_on_request(at: usize, length: usize): u64 {
  return answered(at, length, (call: Call): Reply => {
    const judge = new Judge(settings);
    const finding = judge.call(call.arguments);
    if (finding !== null) return denial(finding);
    if (settings.requirePath && !judge.paths) {
      return Reply.deny("this call names no path, and it has to name one").reason("none of the configured arguments");
    }
    return Reply.pass();
  });
}

/** The agent gets the name of the argument and what to do, the operator the path too. */
function denial(finding: Finding): Reply {
  const path = finding.path.length > 200 ? finding.path.substring(0, 200) + "…" : finding.path;
  return Reply.deny("`" + finding.where + "`: " + finding.problem).reason(finding.where + " = " + quote(path));
}
