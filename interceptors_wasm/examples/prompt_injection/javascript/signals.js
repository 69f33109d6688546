// signals.js: what a prompt injection looks like. All patterns work on folded text (fold.js): lower case, without accents.
//
// A phrase is `[signal, weight, starts, rest]`. One expression looks for all the `starts` at once, and only where one of
// them is found are the phrases tried that begin with it: one pass over the text, however many phrases there are.

// S parts two words, F is a word that may stand between: "ignore *all of the* previous".
const S = "[^a-z0-9']{1,12}";
const F = (most) => `(?:[a-z0-9']{1,24}${S}){0,${most}}`;
const EARLIER = "(?:previous|prior|above|earlier|preceding|foregoing|past|original|initial|former|your|system|developer)";
const ORDERS = "(?:instruction|prompt|guideline|directive|direction|command|rule|context|constraint)s?";
const SENSITIVE =
  "(?:conversation|chat history|system prompt|environment variables?|env(?:ironment)? vars?|\\.env\\b|ssh keys?|id_rsa|id_ed25519|" +
  "private keys?|\\.ssh|\\.aws|/etc/(?:passwd|shadow)|previous messages|your (?:memory|instructions|context)|(?:inbox|mailbox|e-?mails)\\b)";
const CREDENTIAL = "(?:credentials?|secrets?|passwords?|api[ _-]?keys?|(?:access|auth|session|bearer)[ _-]?tokens?|cookies?)";
const DESTINATION =
  "(?:https?:|www\\.|hxxps?:|[a-z0-9._%+-]{1,64}@[a-z0-9-]{1,64}\\.|webhook|(?:this|that|my|our|following) (?:url|address|endpoint|server|e-?mail|link)|to me\\b)";
const SEND = "send|post|upload|email|e-mail|forward|transmit|exfiltrate|leak|submit|append|attach|encode|copy|paste|put|write|share|deliver";
const QUIET_VERB = "(?:tell|telling|inform|informing|mention|mentioning|reveal|revealing|disclose|disclosing|notify|notifying|alert|alerting|warn|warning)";
const THE_USER = "(?:the|your|our|any) (?:users?|humans?|operators?|owners?|people)\\b";
const AI = "(?:ai|a\\.i\\.|llms?|large language model|language model|chatbot|gpt|chatgpt|claude|gemini|copilot|cursor|assistant|(?:ai|coding|autonomous) (?:agent|assistant|model)|agent)s?\\b";

const PHRASES = [
  // orders to drop what the agent was told, in the languages that agents see most
  ["override_phrase", 40, "ignore|disregard|forget|neglect|discard|do not follow|don't follow|dont follow|stop following|do not obey|don't obey|pay no attention to",
    `${S}${F(3)}${EARLIER}${S}${F(3)}${ORDERS}\\b`],
  ["override_phrase", 40, "ignore|disregard|forget", `${S}${F(1)}(?:all|every|any)${S}${F(2)}(?:instruction|guideline|directive)s?\\b`],
  ["override_phrase", 40, "override", `${S}${F(2)}(?:previous|prior|earlier|preceding)${S}${F(2)}${ORDERS}\\b`],
  ["override_phrase", 40, "forget|disregard|ignore",
    `${S}(?:everything|all|anything|whatever)${S}${F(2)}(?:above|before|earlier|previously|you|i (?:said|told)|(?:was|were) (?:said|told))\\b`],
  ["override_phrase", 40, "ignora|ignore|olvida|olvide|descarta|omite|haz caso omiso de|desconsidere|esqueca",
    `${S}${F(5)}(?:instrucciones|indicaciones|reglas|ordenes|directrices|instrucoes|regras|diretrizes|orientacoes)${S}${F(3)}` +
      "(?:anteriores|previas|de arriba|acima|originales|originais|iniciales|iniciais|recibidas|dadas)\\b"],
  ["override_phrase", 40, "ignora|ignore|olvida|olvide|desconsidere|esqueca", `${S}${F(3)}(?:anteriores|previas) (?:instrucciones|ordenes|reglas|instrucoes|regras)\\b`],
  ["override_phrase", 40, "ignore|ignorez|ignorer|oublie|oubliez|oublier|neglige|negligez|ne tiens pas compte|ne tenez pas compte|ne tiens plus compte|fais abstraction|faites abstraction",
    `${S}${F(4)}(?:instructions|consignes|directives|regles|ordres)${S}${F(2)}(?:precedente?s|anterieure?s|ci-dessus|initiale?s|d'origine|recues|donnees)\\b`],
  ["override_phrase", 40, "ignoriere|ignorieren|ignoriert|vergiss|vergesse|vergessen|missachte|missachten|beachte nicht|verwirf",
    `${S}${F(4)}(?:vorherigen?|bisherigen?|obigen?|fruheren?|vorangegangenen?|vorangehenden?|vorigen?|ursprunglichen?|deine|ihre)${S}${F(2)}` +
      "(?:anweisung(?:en)?|instruktion(?:en)?|befehle?|regeln|vorgaben|anleitung(?:en)?|prompts?)\\b"],
  ["override_phrase", 40, "ignora|ignorate|ignorare|dimentica|dimenticate|trascura|non seguire",
    `${S}${F(4)}(?:istruzioni|regole|direttive|indicazioni|ordini)${S}${F(2)}(?:precedenti|sopra|iniziali|originali|ricevute)\\b`],
  ["override_phrase", 40, "ignora|ignorate|dimentica", `${S}${F(3)}precedenti${S}(?:istruzioni|regole|direttive|indicazioni)\\b`],
  ["override_phrase", 40, "negeer|vergeet", `${S}${F(3)}(?:vorige|eerdere|voorgaande|bovenstaande)${S}${F(2)}(?:instructies|aanwijzingen|opdrachten|regels)\\b`],
  ["override_phrase", 40, "zignoruj|ignoruj|zapomnij", `${S}${F(3)}(?:poprzednie|poprzednich|wczesniejsze|wczesniejszych|powyzsze|powyzszych)${S}${F(2)}(?:instrukcj[ei]|polecen(?:ia)?|zasad[y]?)\\b`],
  ["override_phrase", 40, "onceki|yukaridaki|bundan onceki", `${S}${F(2)}(?:talimat|komut|yonerge|kural)[a-z]{0,8}${S}${F(2)}(?:yoksay|yok say|gormezden gel|unut|dikkate alma)`],

  // another task, another role
  ["role_change", 25, "your new|your real|your actual|your true|your only", `${S}(?:task|goal|objective|mission|job|role|purpose|instructions?)${S}(?:is|are|will)\\b`],
  ["role_change", 25, "new instruction|new instructions|updated instructions|new directive|new directives|new system prompt|revised instructions", "\\s{0,3}[:\\-]"],
  ["role_change", 25, "from now on|from this point on|starting now", `${S}${F(1)}(?:you|act|respond|answer|reply|ignore|always|only)\\b`],
  ["role_change", 30, "you are now|you're now|you will now act as|act as|pretend to be|pretend you are|behave as|roleplay as",
    `${S}${F(2)}(?:dan\\b|unrestricted|unfiltered|uncensored|jailbroken|evil|root\\b|god mode|developer mode|debug mode|admin(?:istrator)? mode|no longer bound|free (?:from|of)|an? (?:different|new) (?:ai|assistant|agent|model))`],
  ["role_change", 30, "you are no longer|you're no longer", `${S}${F(2)}(?:bound|restricted|limited|an? (?:ai|assistant)|required to follow|subject to)\\b`],

  // text that speaks to a model
  ["ai_address", 8, "if you are|if you're|attention|note to|note for|notice to|message to|message for|instruction to|instruction for|instructions to|instructions for|dear|hey|hello|important for",
    `${S}(?:an? |the |any |all |this |other |every )?${AI}`],
  ["ai_address", 8, "ai agents|ai assistants|llms|ai models|assistants", `${S}${F(4)}(?:must|should|please|have to|are required to)\\b`],

  // orders to use tools, and to keep quiet about it
  ["tool_lure", 20, "call|use|using|invoke|run|execute|trigger", `${S}(?:the|your|this|these)${S}${F(3)}(?:tools?|functions?|mcp server)\\b${S}(?:with|to|and|on|now|immediately|instead|again|before)\\b`],
  ["tool_lure", 20, "before answering|before responding|before replying|before using|before calling|before you answer|before you respond|before you reply|before any|before doing anything",
    `${S}${F(6)}(?:you must|you should|you have to|first|call|read|run|send|execute)\\b`],
  ["secrecy", 28, "do not|don't|dont|never|must not|avoid|and not", `${S}(?:ever )?${QUIET_VERB}${S}(?:(?:this|it|that|any of this|anything|about (?:this|it))${S})?(?:(?:to|about)${S})?${THE_USER}`],
  ["secrecy", 28, "without", `${S}${QUIET_VERB}${S}${THE_USER}`],
  ["secrecy", 28, "the user", `${S}(?:must|should|does|need|can) ?not${S}(?:know|see|notice|find out|be (?:told|informed|notified|aware))`],
  ["secrecy", 28, "no le digas|no digas nada|no se lo digas|no informes|ne dis rien|ne dites rien|ne le dis pas|n'informe pas|n'informez pas|sag dem|sage dem|sagen sie dem|informiere den|nao conte|nao informe|nao diga|non dire",
    `${S}${F(3)}(?:usuario|utilisateur|benutzer|nutzer|anwender|utente)\\b`],

  // orders to give something away
  ["exfiltration_request", 40, SEND, `${S}${F(8)}[^a-z0-9]?${SENSITIVE}[^\\n]{0,160}?${DESTINATION}`],
  ["exfiltration_request", 25, SEND, `${S}${F(8)}${CREDENTIAL}[^\\n]{0,120}?${DESTINATION}`],
  ["exfiltration_request", 25, SEND, `${S}${F(3)}contents? of${S}[^\\n]{0,120}?${DESTINATION}`],
  ["exfiltration_request", 25, "append|add|insert|encode|embed|replace", `${S}${F(10)}(?:(?:image|markdown) (?:url|link|tag)|(?:in|into|to|as) (?:the )?(?:query (?:string|parameter)|url parameter)s?)\\b`],
  ["sensitive_read", 15, "read|open|cat|fetch|load|access|retrieve", `${S}${F(5)}[^a-z0-9]?(?:\\.ssh|id_rsa|id_ed25519|\\.env\\b|\\.aws|/etc/(?:passwd|shadow)|\\.git-credentials|\\.netrc|\\.npmrc)`],
  ["prompt_leak", 28, "reveal|print|repeat|show|output|display|disclose|return|dump|leak|recite|tell me|write out|include|paste",
    `${S}${F(4)}(?:your (?:full |entire |complete |exact |original |initial )?(?:system )?(?:prompt|instructions?|system message)|(?:instructions|prompt|text) (?:above|you were given))\\b`],
];

// Languages without word boundaries or without Latin letters; tried only where the text has such letters.
const FOREIGN = [
  ["override_phrase", 40, /(?:忽略|无视|無視|忘记|忘記|忽视|忽視|不要理会|不要理會|不要遵守)[^\n。]{0,12}(?:之前|以前|先前|前面|以上|上述|上面|此前|所有|全部|一切|你的)[^\n。]{0,12}(?:指令|指示|提示|命令|规则|規則|要求|设定|設定)/g],
  ["override_phrase", 40, /(?:これまで|以前|以上|上記|前述|前|すべて|全て|今まで)[^\n。]{0,10}(?:指示|命令|プロンプト|ルール|指令|制約)[^\n。]{0,6}(?:無視|忘れ|破棄|従わな)/g],
  ["override_phrase", 40, /(?:이전|위|앞|모든|기존)[^\n.]{0,10}(?:지시|지침|명령|프롬프트|규칙)[^\n.]{0,8}(?:무시|잊|따르지)/g],
  ["override_phrase", 40, /(?:про|за)?(?:игнорируи|игнорируй|игнорировать|забуд[ьи]|отмени|ігноруй|ігноруи)(?:те)?[^a-zа-яё\n]{1,4}[^\n.]{0,24}?(?:предыдущ|прошл|прежн|вышеуказанн|вышеизложенн|предшествующ|попередн)[а-яіїє]{0,4}[^\n.]{0,16}?(?:инструкци|указани|команд|правил|промпт|інструкці|вказівк)/g],
  ["override_phrase", 40, /(?:تجاهل|انس|اهمل|لا تتبع)[^\n.]{0,20}(?:التعليمات|تعليمات|الاوامر|الأوامر|القواعد|الإرشادات)/g],
  ["override_phrase", 40, /(?:पिछले|पिछली|पहले|सभी|उपरोक्त)[^\n।]{0,20}(?:निर्देश|आदेश|नियम)[^\n।]{0,20}(?:अनदेखा|अनदेखी|नज़रअंदाज़|भूल)/g],
  ["secrecy", 28, /(?:不要|别|別|切勿|不得)[^\n。]{0,4}(?:告诉|告訴|告知|通知|透露|提及)[^\n。]{0,6}(?:用户|用戶|使用者)|ユーザーに[^\n。]{0,10}(?:言わない|知らせない|伝えない|教えない)|не\s(?:говори|сообщаи|сообщай|рассказываи|рассказывай)(?:те)?[^\n.]{0,20}пользовател/g],
  ["exfiltration_request", 40, /(?:发送|發送|上传|上傳|转发|傳送)[^\n。]{0,40}(?:https?:|@)|(?:отправь|отправьте|перешли|загрузи)[^\n]{0,80}(?:https?:|@)|(?:送信|アップロード|転送)[^\n。]{0,40}(?:https?:|@)/g],
];

// Marks that stand for themselves: chat template tokens, tags that pretend to come from the agent's own program, addresses
// with a slot for data. Each begins with one of `<`, `[`, `!` and a line feed, so that nothing is tried anywhere else.
const SLOT = "(?:\\{[^}\\s]{0,60}\\}|<[a-z_ -]{2,40}>|\\[[a-z_ -]{2,40}\\]|\\$\\(|%7b|your[_-][a-z_-]{2,30}|(?:conversation|chat_history|secrets?)\\b)";
const DATA = "(?:data|secret|content|history|conversation|context|payload|leak|exfil|stolen|prompt|chat|memory|env|key|token)s?";
const LINK = "!?\\[[^\\]\\n]{0,200}\\]\\(\\s{0,4}<?https?:[^\\s)?]{1,200}\\?";
const MARKS = [
  ["role_marker", 40, "<\\|(?:im_start|im_end|im_sep|system|user|assistant|endoftext|begin_of_text|end_of_text|start_header_id|end_header_id|eot_id|eom_id|endofprompt|return|channel|message|start|end|call)\\|>"],
  ["role_marker", 40, "\\[/?inst\\]|<</?sys>>|<(?:start|end)_of_turn>|</?(?:function_results?|function_calls?|tool_results?|tool_response|tool_call|antml:[a-z_]+)>"],
  ["role_tag", 25, "</?(?:important|system|system[-_](?:prompt|message|reminder|note|override)|developer[-_]message|admin[-_](?:note|override))>"],
  ["role_tag", 25, "\\n[ \\t>*#_]{0,6}\\[?(?:system|developer|admin(?:istrator)?)(?:[ _-](?:message|prompt|note|notice|override|alert|instruction|update))?s?\\]?[*_]{0,2}[ \\t]*:[*_]{0,2}\\s{1,3}" +
    "(?:you|ignore|disregard|please|the (?:user|assistant|agent|model)|from now|important|attention|always|never|do not|don't|new|all previous|override|call|send|forget)\\b"],
  ["role_tag", 25, "\\n[ \\t]*\\n(?:human|user)[ \\t]*:[^\\n]{0,400}\\n[ \\t]*\\n?assistant[ \\t]*:"],
  ["exfiltration_link", 40, `!\\[[^\\]\\n]{0,200}\\]\\(\\s{0,4}<?https?:[^\\s)?]{1,200}\\?[^\\s)]{0,200}?${SLOT}`],
  ["exfiltration_link", 40, `${LINK}(?:[^\\s)]{0,200}?&)?${DATA}=(?:${SLOT}|[)\\s"'])`],
  ["exfiltration_link", 40, `<img[^<>\\n]{0,200}?src\\s{0,2}=\\s{0,2}["']?https?:[^\\s"'>?]{1,200}\\?[^\\s"'>]{0,200}?${SLOT}`],
];

// ---- how they are found

const bare = (words) => words.replace(/[^a-z0-9']+/g, " ");
const literal = (words) => bare(words).replace(/ /g, "[^a-z0-9'\\n]{1,4}");

const BY_START = new Map();
for (const [signal, weight, starts, rest] of PHRASES) {
  const pattern = new RegExp(rest, "y");
  for (const start of starts.split("|").map(bare)) BY_START.set(start, [...(BY_START.get(start) ?? []), { signal, weight, pattern }]);
}

/** One expression for all starts. It is sorted by first letters, in quarters, so that few choices are tried at each word. */
function startPattern() {
  const groups = new Map();
  // The longest first: "before any" must not be taken for a shorter start.
  for (const start of [...BY_START.keys()].sort((a, b) => b.length - a.length)) {
    groups.set(start[0], [...(groups.get(start[0]) ?? []), literal(start.slice(1))]);
  }
  const choices = ["a-e", "f-m", "n-r", "s-z"].map((letters) => {
    const inside = [...groups].filter(([first]) => new RegExp(`[${letters}]`).test(first));
    return `(?=[${letters}])(?:${inside.map(([first, rests]) => `${first}(?:${rests.join("|")})`).join("|")})`;
  });
  return new RegExp(`\\b(?:${choices.join("|")})(?![a-z0-9'])`, "g");
}

/** The names of all signals in this file. */
export const NAMES = [...PHRASES, ...FOREIGN, ...MARKS].map(([signal]) => signal);

const START = startPattern();
const MARK = new RegExp(`(?=[<[!\\n])(?:${MARKS.map(([, , source]) => `(${source})`).join("|")})`, "g");

/** All findings in folded text, `{signal, weight, index, end}`. `foreign` says whether it has letters beyond Latin and Greek. */
export function find({ text, foreign }) {
  const found = [];
  START.lastIndex = 0;
  for (let start; (start = START.exec(text)); ) {
    for (const { signal, weight, pattern } of BY_START.get(bare(start[0]))) {
      pattern.lastIndex = START.lastIndex;
      if (pattern.test(text)) found.push({ signal, weight, index: start.index, end: pattern.lastIndex });
    }
  }
  const lines = `\n${text}`; // the first line has a line feed before it, too
  for (const mark of lines.matchAll(MARK)) {
    const [signal, weight] = MARKS[mark.findIndex((group, i) => i > 0 && group !== undefined) - 1];
    const index = mark[0].startsWith("\n") ? mark.index : mark.index - 1;
    found.push({ signal, weight, index, end: mark.index - 1 + mark[0].length });
  }
  if (!foreign) return found;
  for (const [signal, weight, pattern] of FOREIGN) {
    for (const match of text.matchAll(pattern)) found.push({ signal, weight, index: match.index, end: match.index + match[0].length });
  }
  return found;
}

/** Words without their spaces, for text that is spelt l i k e  t h i s. */
export const SQUEEZED = /(?:ignore|disregard|forget)(?:all|any|the|your|of|my|these){0,4}(?:previous|prior|above|earlier|system)(?:instruction|prompt|rule|guideline)|donottelltheuser|systemprompt/;
