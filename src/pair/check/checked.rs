//! What a running proxy knows from its checks, and what is new of it.
//!
//! The checks are run again and again, and most of the time nothing has changed. So a finding is told when
//! it comes and when it has gone, and in between it only stands ([`Checked`]) for those who ask. Two
//! findings are the same one when they are of the same check about the same servers, whatever their
//! numbers say.

use std::time::{Duration, SystemTime};

use super::{Blind, Finding, Severity, Verdict};

/// What the checks last came to.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// When that was; `None` before the first.
    pub at: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// What was found, the gravest first.
    pub findings: Vec<Stood>,
    /// What could not be looked at.
    pub not_seen: Vec<Blind>,
}

/// A finding, and since when it has been there.
#[derive(Clone, Debug)]
pub struct Stood {
    /// The finding, in its latest words.
    pub finding: Finding,
    /// When it was first found.
    pub since: SystemTime,
}

/// A change.
#[derive(Clone, Debug)]
pub enum News {
    /// This is found, and was not before, or was less grave.
    Found(Finding),
    /// This was found before, and is not any more.
    Gone(Finding),
}

impl Checked {
    /// What it is after another look.
    #[must_use]
    pub fn after(&self, verdict: Verdict, at: SystemTime, took: Duration) -> (Self, Vec<News>) {
        let mut news = Vec::new();
        let findings: Vec<Stood> = verdict
            .findings
            .into_iter()
            .map(|finding| {
                let before = self.findings.iter().find(|before| same(&before.finding, &finding));
                if before.is_none_or(|before| before.finding.severity < finding.severity) {
                    news.push(News::Found(finding.clone()));
                }
                Stood { since: before.map_or(at, |before| before.since), finding }
            })
            .collect();
        let gone =
            |before: &&Stood| !findings.iter().any(|now| same(&now.finding, &before.finding));
        news.extend(self.findings.iter().filter(gone).map(|it| News::Gone(it.finding.clone())));
        let standing = Self { at: Some(at), took, findings, not_seen: verdict.not_seen };
        (standing, news)
    }

    /// How many findings there are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|stood| stood.finding.severity == severity).count()
    }
}

fn same(one: &Finding, other: &Finding) -> bool {
    (one.check, &one.servers) == (other.check, &other.servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(findings: &[(Severity, &str, &str)]) -> Verdict {
        let finding = |(severity, server, what): &(Severity, &str, &str)| {
            Finding::new(*severity, [*server], *what, "because")
        };
        Verdict { findings: findings.iter().map(finding).collect(), ..Verdict::default() }
    }

    fn words(news: &[News]) -> Vec<String> {
        let word = |news: &News| match news {
            News::Found(finding) => format!("found {}", finding.what),
            News::Gone(finding) => format!("gone {}", finding.what),
        };
        news.iter().map(word).collect()
    }

    #[test]
    fn a_finding_is_news_when_it_comes_and_when_it_has_gone() {
        use Severity::{Error, Notice, Warning};
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let look = |before: &Checked, seconds, found: &[(Severity, &str, &str)]| {
            before.after(verdict(found), at(seconds), Duration::from_millis(5))
        };
        let (first, news) =
            look(&Checked::default(), 1, &[(Warning, "m1", "a"), (Notice, "m2", "b")]);
        assert_eq!(words(&news), ["found a", "found b"]);
        assert_eq!((first.count(Error), first.count(Warning), first.count(Notice)), (0, 1, 1));
        let (second, news) =
            look(&first, 2, &[(Warning, "m1", "a, a bit more of it"), (Notice, "m2", "b")]);
        assert!(news.is_empty(), "{news:?}");
        assert_eq!(second.findings[0].since, at(1));
        assert_eq!(second.findings[0].finding.what, "a, a bit more of it");
        let (third, news) = look(&second, 3, &[(Error, "m1", "a is grave")]);
        assert_eq!(words(&news), ["found a is grave", "gone b"]);
        let (_, news) = look(&third, 4, &[]);
        assert_eq!(words(&news), ["gone a is grave"]);
    }
}
