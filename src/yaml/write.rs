//! A tree written as a text.

use super::{Tree, parse};

/// A tree as YAML in block style. Texts are quoted where any version of YAML takes them for something
/// else: Kubernetes' own reader takes `yes` and `on` for true (YAML 1.1, bool).
pub fn write(tree: &Tree) -> String {
    let mut text = String::new();
    block(tree, 0, &mut text);
    if !matches!(tree, Tree::Sequence(_) | Tree::Mapping(_)) {
        text.push('\n');
    }
    text
}

/// Writes a value whose first line is indented already.
fn block(tree: &Tree, indent: usize, text: &mut String) {
    match tree {
        Tree::Sequence(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                margin(index, indent, text);
                text.push_str("- ");
                block(item, indent + 2, text);
                end_line(text);
            }
        }
        Tree::Mapping(entries) if !entries.is_empty() => {
            for (index, (key, value)) in entries.iter().enumerate() {
                margin(index, indent, text);
                text.push_str(&word(key));
                text.push(':');
                match value {
                    Tree::Sequence(items) if !items.is_empty() => {
                        text.push('\n');
                        margin(1, indent, text);
                        block(value, indent, text);
                    }
                    Tree::Mapping(entries) if !entries.is_empty() => {
                        text.push('\n');
                        margin(1, indent + 2, text);
                        block(value, indent + 2, text);
                    }
                    _ => {
                        text.push(' ');
                        block(value, indent, text);
                    }
                }
                end_line(text);
            }
        }
        Tree::Sequence(_) => text.push_str("[]"),
        Tree::Mapping(_) => text.push_str("{}"),
        Tree::Null => text.push_str("null"),
        Tree::Bool(flag) => text.push_str(&flag.to_string()),
        Tree::Integer(number) => text.push_str(&number.to_string()),
        Tree::Float(number) => text.push_str(&serde_json::Value::from(*number).to_string()),
        Tree::String(string) => text.push_str(&word(string)),
    }
}

fn margin(index: usize, indent: usize, text: &mut String) {
    if index > 0 {
        text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn end_line(text: &mut String) {
    if !text.ends_with('\n') {
        text.push('\n');
    }
}

/// What YAML 1.1 takes for true, false or nothing.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A text, plain where that is safe, else in double quotes as JSON has it.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-+=,".contains(c);
    let safe = text.chars().all(plain)
        && !text.ends_with(':')
        && !text.starts_with(['@', ',', '='])
        // Numbers may have underscores in YAML 1.1.
        && (!text.contains('_') || text.starts_with(|c: char| c.is_ascii_alphabetic()))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        && parse(text) == Ok(Tree::String(text.to_owned()));
    if safe {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{mapping, texts};

    #[test]
    fn what_is_written_is_read_back() {
        let text = "a: 1\nb: [true, ~, 1.5, 2.0, '1.5', 'true', '', '10.0.0.1', 'a: b', '# c', \"d\\ne\", '- f', '1_0']\nc: {}\nd: [[], [x, [y]], {e: {f: [1]}, g: ''}]\nyes: [{h: [i]}]\n";
        let tree = parse(text).unwrap();
        let written = write(&tree);
        assert_eq!(parse(&written).unwrap(), tree, "{written}");
        for scalar in ["x", "''", "1", "[]", "{}"] {
            let tree = parse(scalar).unwrap();
            assert_eq!(parse(&write(&tree)).unwrap(), tree);
        }
    }

    #[test]
    fn what_is_written_looks_as_kubeadm_writes_it() {
        let inner = mapping([
            ("name", "a".into()),
            ("args", texts(["--b=https://0.0.0.0:1", "x"])),
        ]);
        let tree = mapping([
            ("on", texts(["yes", "Off", "n", "1_0", "::1", "sha256:0a"])),
            ("list", Tree::Sequence(vec![inner])),
            ("at", "10.0.0.1:6443".into()),
            ("token", "123456.0123456789012345".into()),
        ]);
        assert_eq!(
            write(&tree),
            "\"on\":\n- \"yes\"\n- \"Off\"\n- \"n\"\n- \"1_0\"\n- ::1\n- sha256:0a\nlist:\n- name: a\n  args:\n  - --b=https://0.0.0.0:1\n  - x\nat: 10.0.0.1:6443\ntoken: \"123456.0123456789012345\"\n"
        );
    }
}
