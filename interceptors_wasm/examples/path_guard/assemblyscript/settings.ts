// The configuration, read strictly: a key that nobody knows, or a value of the wrong kind, is an error that names the key.

import { Json } from "./pdp_interceptor";
import { Place, asciiLower, placeOf } from "./place";

/** The usual names of arguments that hold a path, or a list of them, in lower case. */
const DEFAULT_PATHS: string[] = [
  "path", "paths", "source", "destination", // the reference filesystem server's
  "file_path", "file_paths", "filepath", "filepaths", "file", "filename", "src", "dst", "dest",
  "dir", "directory", "folder", "root", "cwd", "repo_path", "local_path", "output_path", "input_path",
  "source_path", "destination_path", "target_path", "old_path", "new_path",
];

/** Where keys, passwords and histories usually lie, and `.git`, whose hooks and configuration run commands. */
const DENIED_NAMES: string[] = [
  ".ssh", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys", ".gnupg",
  ".env", ".env.*", ".envrc", "*.env", ".aws", ".azure", ".gcloud", ".kube", ".dockercfg", ".netrc", "_netrc", ".npmrc",
  ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", ".git", ".vault-token", "*.pem", "*.key", "*.p12",
  "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.tfstate", "*.tfstate.*", ".*_history",
];

const ALLOWED_NAMES: string[] = [".env.example", ".env.sample", ".env.template", "*.pub"];

export class Settings {
  /** Each a list of steps; `*` is every item or member. */
  pointers: string[][] = DEFAULT_PATHS.map<string[]>((name: string) => [name]);
  roots: Place[] = [];
  requirePath: bool = false;
  deniedNames: string[] = DENIED_NAMES;
  allowedNames: string[] = ALLOWED_NAMES;
  allowRelative: bool = true;
  allowHidden: bool = true;
  allowParentSegments: bool = false;
  allowHome: bool = false;
  allowFileUrls: bool = false;
  allowWindows: bool = false;
  allowUnc: bool = false;

  /** Returns "", or what is wrong. */
  read(config: Json): string {
    let roots: string[] = [];
    const members = config.members;
    for (let at = 0; at < members.length; at += 2) {
      const key = members[at].string;
      const value = members[at + 1];
      if (key == "paths" || key == "roots" || key == "denied_names" || key == "allowed_names") {
        const texts = textsOf(value);
        if (texts === null) return "`" + key + "` has to be a list of texts that are not empty";
        if (key == "roots") roots = texts;
        else if (!this.setList(key, texts)) return "`" + key + "` has an entry that does not fit";
      } else {
        if (!value.isBool) return "`" + key + "` has to be true or false, or is not a key of this interceptor";
        if (!this.setFlag(key, value.isTrue)) return "`" + key + "` is not a key of this interceptor";
      }
    }
    if (this.allowUnc && !this.allowWindows) return "`allow_unc` needs `allow_windows`";
    return this.setRoots(roots);
  }

  private setList(key: string, texts: string[]): bool {
    if (key == "paths") {
      this.pointers = texts.map<string[]>((text: string) => stepsOf(text));
      return this.pointers.every((steps: string[]) => steps.length > 0 && !steps.includes(""));
    }
    const names = texts.map<string>((text: string) => asciiLower(text));
    if (key == "denied_names") this.deniedNames = names;
    else this.allowedNames = names;
    // A pattern is for one name. With a slash in it it would never fit, and nobody would notice.
    return !names.some((name: string) => name.includes("/") || name.includes("\\"));
  }

  private setFlag(key: string, value: bool): bool {
    if (key == "require_path") this.requirePath = value;
    else if (key == "allow_relative") this.allowRelative = value;
    else if (key == "allow_hidden") this.allowHidden = value;
    else if (key == "allow_parent_segments") this.allowParentSegments = value;
    else if (key == "allow_home") this.allowHome = value;
    else if (key == "allow_file_urls") this.allowFileUrls = value;
    else if (key == "allow_windows") this.allowWindows = value;
    else if (key == "allow_unc") this.allowUnc = value;
    else return false;
    return true;
  }

  private setRoots(roots: string[]): string {
    for (let at = 0; at < roots.length; at++) {
      const place = placeOf(roots[at], this.allowWindows);
      const isForeign = place.isUnc ? !this.allowUnc : place.drive.length > 0 && !this.allowWindows;
      const isPlain = !place.names.includes(".") && !place.names.includes("..");
      if (!place.isAbsolute || isForeign || !isPlain) {
        return "`roots` has `" + roots[at] + "`, which is not an absolute directory in plain form";
      }
      this.roots.push(place);
    }
    return "";
  }
}

function textsOf(value: Json): string[] | null {
  const items = value.items;
  const texts: string[] = [];
  for (let at = 0; at < items.length; at++) texts.push(items[at].string);
  return value.isArray && !texts.includes("") ? texts : null;
}

/** The steps of a JSON pointer, or the one step that a plain name is. In lower case, as names are compared. */
function stepsOf(text: string): string[] {
  if (!text.startsWith("/")) return [asciiLower(text)];
  const steps = text.substring(1).split("/");
  return steps.map<string>((step: string) => asciiLower(step.replaceAll("~1", "/").replaceAll("~0", "~")));
}
