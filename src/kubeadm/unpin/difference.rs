//! What will change, as people read it.

use similar::TextDiff;

use super::plan::Change;

/// The lines of a text that differ, each with one line around it.
pub fn of_texts(place: &str, old: &str, new: &str) -> Change {
    let diff = TextDiff::from_lines(old, new);
    let mut lines = diff.unified_diff();
    let lines = lines.context_radius(1).missing_newline_hint(false);
    Change {
        place: place.to_owned(),
        diff: lines.to_string(),
    }
}

/// Single values, for what has secrets beside them: nothing but the values themselves is shown.
pub fn of_values<'a>(
    place: &str,
    values: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) -> Change {
    let lines = values.into_iter().map(|(what, old, new)| {
        let line = |sign: char, value: &str| match value {
            "" => String::new(),
            value => format!("{sign}{what}: {value}\n"),
        };
        line('-', old) + &line('+', new)
    });
    Change {
        place: place.to_owned(),
        diff: lines.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_with_their_neighbours() {
        let change = of_texts("/f", "a\nb\nc\nd\ne\n", "a\nb\nC\nd\ne\n");
        assert_eq!(change.diff, "@@ -2,3 +2,3 @@\n b\n-c\n+C\n d\n");
    }

    #[test]
    fn values_are_shown_alone() {
        let change = of_values("/f", [("server", "a", "b"), ("endpoint", "", "c")]);
        assert_eq!(change.diff, "-server: a\n+server: b\n+endpoint: c\n");
    }
}
