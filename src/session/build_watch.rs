//! What a build says, in the words of the Podfile: which step is under way, what of it runs, and why one failed. Pure.
//!
//! Everything in a build's output is untrusted. The marks by which steps and parts are told apart may be printed by any
//! command too: they decide on words that are shown, and on nothing else.

use std::collections::VecDeque;

use podspawn_runtimes::Progress;

use super::error::BuildPart;
use super::report::{Report, Step};
use crate::names::{plain, printable};
use crate::spec::Recipe;

/// How many last lines of a failed step are shown.
const TAIL: usize = 15;
/// Longest line of those, in characters.
const MAX_LINE: usize = 300;
/// Longest part that is shown in one line with others, in characters.
const MAX_PART: usize = 60;

/// Longest name of what runs before a line that it wrote, in characters.
const MAX_NAME: usize = 32;

/// How lines begin with which builders tell that a command has failed, or what they do with layers.
const BUILDERS_WORDS: [&str; 9] = [
    "The command '",
    "process \"",
    "building at STEP",
    "Error: building at STEP",
    "Removing intermediate",
    "executor failed",
    "---> ",
    "--> ",
    "COMMIT ",
];

/// Follows one build.
pub(super) struct Watch<'a> {
    pub(super) report: &'a mut dyn Report,
    /// The step that is under way, as it is shown.
    pub(super) text: String,
    /// What of it runs.
    pub(super) part: BuildPart,
    /// What that has said.
    said: VecDeque<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(report: &'a mut dyn Report, text: String, part: BuildPart) -> Self {
        Self { report, text, part, said: VecDeque::new() }
    }

    pub(super) fn take(&mut self, progress: Progress) {
        let line = match &progress {
            Progress::Line(line) => line,
            Progress::Layer { .. } => {
                self.report.step(Step::BuildOutput { step: &self.text, progress });
                return;
            }
        };
        let line = cleaned(line);
        let words = line.trim();
        if let Some(command) = words.strip_prefix(Recipe::STEP_MARK) {
            self.report.step(Step::BuildStepDone { text: &self.text });
            let command = shortened(&printable(command), MAX_LINE);
            self.text = format!("Running {command}");
            self.begin(BuildPart::Command(command));
            self.report.step(Step::BuildStep { text: &self.text });
        } else if let Some(part) = words.strip_prefix(Recipe::PART_MARK) {
            self.begin(part_of(part));
            self.report.step(Step::BuildPart { text: &capitalised(&self.part.to_string()) });
        } else if let Some(instruction) = instruction(words) {
            self.said.clear();
            if let BuildPart::Dockerfile { instruction: current, .. } = &mut self.part {
                *current = Some(shortened(&printable(instruction), MAX_PART));
            }
        } else if !words.is_empty() && !is_builders(words) {
            if self.said.len() == TAIL {
                self.said.pop_front();
            }
            self.said.push_back(line.clone());
            // The end of what is shown is worth more than the name of what says it.
            let step = begin_of(&capitalised(&self.part.to_string()));
            self.report.step(Step::BuildOutput { step: &step, progress: Progress::Line(line) });
        }
    }

    fn begin(&mut self, part: BuildPart) {
        self.part = part;
        self.said.clear();
    }

    /// What the step that failed wrote last, and why it failed, each line once. `answer` is the engine's, which may have more
    /// than what was followed.
    pub(super) fn failure(&mut self, answer: &str) -> (Vec<String>, String) {
        let mut lines: Vec<String> = self.said.drain(..).collect();
        if lines.is_empty() {
            let all = answer.lines().map(cleaned);
            lines = all.filter(|line| is_said(line)).collect();
            lines.drain(..lines.len().saturating_sub(TAIL));
        }
        let why = cause(&mut lines).unwrap_or_else(|| match status(answer) {
            Some(status) => format!("it ended with status {status} and said nothing"),
            // An engine that refuses before anything runs.
            None => answer.lines().last().map(cleaned).unwrap_or_default(),
        });
        (lines, why)
    }
}

/// Takes the line that says why off the end of what was said.
fn cause(lines: &mut Vec<String>) -> Option<String> {
    // apt names each package that it does not have on a line of its own.
    let errors = lines.iter().rev().take_while(|line| line.trim_start().starts_with("E: ")).count();
    let last = lines.split_off(lines.len().checked_sub(errors.max(1))?);
    let mut text = last.iter().map(|line| line.trim()).collect::<Vec<_>>().join("; ");
    if let Some(own) = text.strip_prefix("podspawn: ") {
        // The program that fetches says why, podspawn's script what.
        let why = lines.pop_if(|line| line.trim_start().starts_with("curl: "));
        text = match why {
            Some(why) => format!("{own}: {}", why.trim()),
            None => own.to_owned(),
        };
    }
    Some(text)
}

fn part_of(mark: &str) -> BuildPart {
    let (kind, entries) = mark.split_once(' ').unwrap_or((mark, ""));
    let entries = shortened(&printable(entries), MAX_PART);
    match kind {
        "runtime" => BuildPart::Runtime(entries),
        "packages" => BuildPart::Packages(entries),
        _ => BuildPart::Tools,
    }
}

/// What of a Dockerfile begins, if that is what a line says: `Step 2/5 : RUN x`, `STEP 2/5: RUN x`, `[stage 2/5] RUN x`.
fn instruction(line: &str) -> Option<&str> {
    let counts = |text: &str| {
        let numbers = text.split_once('/');
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        numbers.is_some_and(|(at, of)| digits(at) && digits(of))
    };
    if let Some(rest) = line.strip_prefix("Step ").or_else(|| line.strip_prefix("STEP ")) {
        let (count, rest) = rest.split_once(':').unwrap_or((rest, ""));
        return counts(count.trim()).then(|| rest.trim());
    }
    let (count, rest) = line.strip_prefix('[')?.split_once("] ")?;
    counts(count.rsplit(' ').next().unwrap_or_default()).then_some(rest)
}

fn is_builders(line: &str) -> bool {
    BUILDERS_WORDS.iter().any(|words| line.starts_with(words))
}

fn is_said(line: &str) -> bool {
    let words = line.trim();
    let mark = words.starts_with(Recipe::STEP_MARK) || words.starts_with(Recipe::PART_MARK);
    !words.is_empty() && !mark && !is_builders(words) && instruction(words).is_none()
}

/// The status with which a command ended, from the last line of an engine's answer.
fn status(answer: &str) -> Option<u8> {
    let last = answer.lines().last()?;
    let (_, status) = last.rsplit_once([' ', ':'])?;
    let told = last.contains("code: ") || last.contains("exit status ");
    status.trim().parse().ok().filter(|_| told)
}

/// A line as it is shown: what was there last, where it was written over.
fn cleaned(line: &str) -> String {
    let line = line.trim_end();
    let last = line.rsplit('\r').next().unwrap_or_default();
    shortened(plain(last).trim_end(), MAX_LINE)
}

/// A long line without its middle: its end says how a command ended.
fn shortened(line: &str, most: usize) -> String {
    let length = line.chars().count();
    if length <= most {
        return line.to_owned();
    }
    let half = most / 2;
    let begin: String = line.chars().take(half).collect();
    let end: String = line.chars().skip(length - half).collect();
    format!("{begin} … {end}")
}

/// A name before other text on one line.
fn begin_of(name: &str) -> String {
    let shown: String = name.chars().take(MAX_NAME).collect();
    if shown.len() < name.len() { shown + "…" } else { shown }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::super::report::Silent;
    use super::*;

    fn failure(lines: &[&str], answer: &str) -> (String, Vec<String>, String) {
        let mut silent = Silent;
        let whole = BuildPart::Whole("Installing packages: a b".into());
        let mut watch = Watch::new(&mut silent, "x".into(), whole);
        lines.iter().for_each(|line| watch.take(Progress::Line((*line).into())));
        let (lines, cause) = watch.failure(answer);
        (watch.part.to_string(), lines, cause)
    }

    const CLASSIC: &str = "The command '/bin/sh -euc echo x' returned a non-zero code: 22";

    #[test]
    fn a_fetch_that_failed_is_named_with_its_runtime_and_without_wrapper_and_marks() {
        let lines = [
            "Step 4/6 : RUN [\"/bin/sh\",\"-euc\",\"echo 'podspawn-part: runtime go@1.25.0'\\nwork=\"]",
            " ---> Running in 0123456789ab",
            "podspawn-part: tools",
            "Get:1 of another part",
            "\u{1b}[0mpodspawn-part: runtime go@1.25.0",
            "\u{1b}[91mcurl: (22) The requested URL returned error: 404",
            "\u{1b}[0m\u{1b}[91mpodspawn: cannot fetch http://mirror/go1.25.0.linux-amd64.tar.gz",
            "\u{1b}[0m",
        ];
        let (part, lines, cause) = failure(&lines, CLASSIC);
        assert_eq!(part, "installing go@1.25.0");
        assert_eq!(lines, Vec::<String>::new());
        let wanted = "cannot fetch http://mirror/go1.25.0.linux-amd64.tar.gz: \
                      curl: (22) The requested URL returned error: 404";
        assert_eq!(cause, wanted);
    }

    #[test]
    fn each_package_that_does_not_exist_is_in_the_cause() {
        let (part, lines, cause) = failure(
            &["podspawn-part: packages a b", "Reading package lists...", "E: no a", "E: no b"],
            "process \"/bin/sh -euc x\" did not complete successfully: exit code: 100",
        );
        assert_eq!((part.as_str(), cause.as_str()), ("installing a b", "E: no a; E: no b"));
        assert_eq!(lines, ["Reading package lists..."]);
    }

    #[test]
    fn a_command_has_what_it_wrote_itself_and_a_silent_one_its_status() {
        let (part, lines, cause) = failure(
            &["of the step before", "podspawn-step: make all", "10%\r90%", "two\u{1b}[2K", "last \u{7}"],
            CLASSIC,
        );
        assert_eq!(part, "running `make all`");
        assert_eq!((lines, cause.as_str()), (vec!["90%".to_owned(), "two".into()], "last \\u{7}"));
        let podman = "building at STEP \"RUN x\": while running runtime: exit status 7";
        let (_, lines, cause) = failure(&["podspawn-step: false"], podman);
        assert_eq!((lines.len(), cause.as_str()), (0, "it ended with status 7 and said nothing"));
    }

    #[test]
    fn a_dockerfile_of_the_repository_is_named_with_its_instruction() {
        let mut silent = Silent;
        let part = BuildPart::Dockerfile { file: "docker/Dockerfile".into(), instruction: None };
        let mut watch = Watch::new(&mut silent, "x".into(), part);
        for (line, instruction) in [
            ("Step 2/3 : RUN npm ci", "RUN npm ci"),
            ("STEP 3/3: RUN make", "RUN make"),
            ("[build 2/12] COPY . .", "COPY . ."),
        ] {
            watch.take(Progress::Line(line.into()));
            assert_eq!(watch.part.to_string(), format!("building `docker/Dockerfile` (`{instruction}`)"));
        }
        assert_eq!(super::instruction("[x] y"), None);
        assert_eq!(super::instruction("Step by step: nothing"), None);
    }

    #[test]
    fn long_output_is_shortened_to_its_end() {
        let answer = format!("old\n{}{}\n{CLASSIC}", "line\n".repeat(TAIL), "x".repeat(2000));
        let (_, lines, cause) = failure(&[], &answer);
        assert_eq!((lines.len(), lines[0].as_str()), (TAIL - 1, "line"));
        assert!(cause.chars().count() < MAX_LINE + 10);
    }
}
