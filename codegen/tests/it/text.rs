//! Texts that are no plans.

use crate::placements::plan_of;
use proptest::prelude::*;
use sailplan_codegen::{read, write};

fn refusal(text: &str) -> String {
    read("plan.ron", text).unwrap_err().to_string()
}

#[test]
fn broken_texts_are_refused_with_a_place() {
    let text = write(&plan_of("one"));
    let cases = [
        (String::new(), "bytes 0..0"),
        ("Plan(".to_owned(), "every bracket is closed"),
        (text.replacen("made_by", "made_bye", 1), "Unexpected field named `made_bye`"),
        (text.replacen("stage: 0", "stage: -1", 1), "plan.ron: bytes"),
        (text.replacen("layers: \"0..3\"", "layers: \"0-3\"", 1), "is not a range of layers"),
        (text.replacen("group: \"0\"", "group: \"0..70000\"", 1), "is not a list of cards"),
        (text.replacen("group: \"0\"", "group: \"7..2\"", 1), "is not a list of cards"),
        (text.replacen("prompt: 8", "prompt: 9", 1), "edited by hand"),
        (text.replacen(" ns\"", " lightyears\"", 1), "bytes"),
        (format!("{text}{text}"), "bytes"),
    ];
    for (text, words) in cases {
        let message = refusal(&text);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn another_version_is_named_whatever_follows() {
    let newer = refusal("// made tomorrow\nPlan (\n version : 7, whatever: {{{");
    assert!(newer.contains("format version 7; this build reads version 2 (use a newer sailplan)"), "{newer}");
    assert!(refusal("(version: 0)").contains("version 0"));
    let older = refusal("Plan(version: 1, sails: [[[");
    assert!(
        older.contains("this build reads version 2 (it was made by an older sailplan: compile it again)"),
        "{older}"
    );
    assert!(refusal("Plan(version: 99999999999999999999999)").contains("use a newer sailplan"));
}

#[test]
fn layout_of_the_text_and_comments_are_free() {
    let text = write(&plan_of("one"));
    let other = text.replace("  ", "\t").replacen("Plan(", "/* a plan */ Plan( // here\n", 1);
    assert_eq!(read("plan.ron", &text).unwrap(), read("plan.ron", &other).unwrap());
}

proptest! {
    #[test]
    fn random_texts_do_not_panic(text in ".{0,300}") {
        let _ = read("plan.ron", &text);
        let _ = read("plan.ron", &format!("Plan(version: 2, {text}"));
    }

    #[test]
    fn mutated_texts_do_not_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..40, "[-0-9a-zA-Z(){}\\[\\]\"., :#]{0,6}"), 1..4),
        case in 0usize..3,
    ) {
        let mut text = write(&plan_of(["one", "scatter", "pipeline"][case]));
        for (place, length, with) in edits {
            let start = place.index(text.len());
            let end = (start + length).min(text.len());
            text.replace_range(start..end, &with);
        }
        let _ = read("plan.ron", &text);
    }

    #[test]
    fn truncated_texts_are_refused(place in any::<prop::sample::Index>(), case in 0usize..3) {
        let text = write(&plan_of(["one", "scatter", "streamed"][case]));
        let end = place.index(text.len() - 1);
        prop_assert!(text.get(..end).is_none_or(|text| text.trim_end().ends_with("\n)") || read("plan.ron", text).is_err()));
    }

    #[test]
    fn mutated_bytes_do_not_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), case in 0usize..3) {
        let mut bytes = write(&plan_of(["one", "three stages", "streamed"][case])).into_bytes();
        for (place, byte) in edits {
            let index = place.index(bytes.len());
            bytes[index] = byte;
        }
        let _ = read("plan.ron", &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn mutated_numbers_do_not_panic(place in any::<prop::sample::Index>(), number in any::<u64>(), wide in any::<bool>()) {
        let text = write(&plan_of("three stages"));
        let digits: Vec<usize> = text.match_indices(|c: char| c.is_ascii_digit()).map(|(index, _)| index).collect();
        let start = digits[place.index(digits.len())];
        let length = text[start..].find(|c: char| !c.is_ascii_digit()).unwrap_or(1);
        let number = if wide { number } else { number % 100 };
        let mut other = text.clone();
        other.replace_range(start..start + length, &number.to_string());
        let _ = read("plan.ron", &other);
    }
}
