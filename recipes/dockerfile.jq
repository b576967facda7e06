# Dockerfile instructions as changes of an image's config.

# The value of $NAME, ${NAME}, ${NAME:-word} or ${NAME:+word}; what is not set is empty.
def value($vars):
  . as $text
  | ([capture("^\\$\\{?(?<name>\\w+)(?:(?<how>:[-+])(?<word>[^}]*))?\\}?$"; "s")][0]
    // error("\($text): not a substitution that is known here"))
  | ($vars[.name] // "") as $value
  | if .how == ":-" and $value == "" then .word
    elif .how == ":+" then (if $value == "" then "" else .word end)
    else $value end;

# The inside of double quotes.
def expanded($vars):
  [match("\\\\[\"\\\\$]|\\$\\{[^}]*\\}|\\$\\w+|[^\\\\$]+|."; "gs").string
    | if startswith("\\") and length == 2 then .[1:]
      elif startswith("$") and length > 1 then value($vars)
      else . end]
  | add // "";

# The words of a line, with variables and without quotes and backslashes.
def words($vars):
  reduce match("'[^']*'|\"(?:\\\\.|[^\"\\\\])*\"|\\\\.|\\$\\{[^}]*\\}|\\$\\w+|\\s+|[^'\"\\\\$\\s]+|."; "gs").string as $token
    ({words: [], word: null};
      if ($token | test("^\\s")) then {words: (.words + [.word // empty]), word: null}
      else .word = (.word // "") + ($token
        | if . == "'" or . == "\"" then error("a quotation mark without its other half")
          elif startswith("'") then .[1:-1]
          elif startswith("\"") then .[1:-1] | expanded($vars)
          elif startswith("\\") then .[1:]
          elif startswith("$") and length > 1 then value($vars)
          else . end) end)
  | .words + [.word // empty];

# The JSON form, or null.
def list: (try fromjson catch null) | if type == "array" and all(.[]; type == "string") then . else null end;
# What is run: the JSON form as it is, the other by the shell.
def command: list // ["/bin/sh", "-c", .];
# COPY and ADD: operands in either form.
def operands($vars): list // words($vars);

def variables($args): $args + ([.config.Env[]? | capture("^(?<key>[^=]*)=(?<value>.*)$"; "s")] | from_entries);

# K=V words, or the old form K and a value of all the rest.
def pairs:
  if length == 0 then error("a name is missing")
  elif .[0] | contains("=") then .[] | [capture("^(?<key>[^=]+)=(?<value>.*)$"; "s")][0] // error("a word is not NAME=VALUE")
  else {key: .[0], value: (.[1:] | join(" "))} end;

# ARG: the value given for it, its own, or the one of an ARG before the first FROM.
def arguments($given; $global; $args):
  reduce words($args + $global)[] as $word ({};
    ([$word | capture("^(?<key>\\w+)(?:=(?<value>.*))?$"; "s")][0] // error("\($word): not NAME or NAME=VALUE")) as $one
    | .[$one.key] = ($given[$one.key] // $one.value // $global[$one.key] // ""));

def one($vars): words($vars) | if length == 1 then .[0] else error("takes one word") end;

def instruct($name; $text; $args):
  variables($args) as $vars
  | if $name == "ENV" then
      reduce ($text | words($vars) | pairs) as $pair (.;
        .config.Env = [.config.Env[]? | select(startswith($pair.key + "=") | not)] + ["\($pair.key)=\($pair.value)"])
    elif $name == "LABEL" then
      reduce ($text | words($vars) | pairs) as $pair (.; .config.Labels[$pair.key] = $pair.value)
    elif $name == "EXPOSE" then
      reduce ($text | words($vars) | .[]) as $port (.;
        .config.ExposedPorts[$port | if contains("/") then . else . + "/tcp" end] = {})
    elif $name == "USER" then .config.User = ($text | one($vars))
    elif $name == "WORKDIR" then
      ($text | one($vars)) as $directory
      | .config.WorkingDir |= if $directory | startswith("/") then $directory else (. // "") + "/" + $directory end
    elif $name == "CMD" then .config.Cmd = ($text | command) | .own_cmd = true
    # A CMD of the image below was meant for the ENTRYPOINT of the image below.
    elif $name == "ENTRYPOINT" then .config.Entrypoint = ($text | command) | if .own_cmd then . else del(.config.Cmd) end
    else error("\($name): not an instruction that is known here") end;
