//! Prometheus' text form, version 0.0.4, read line by line as its documentation describes it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::support::http::HttpClient;

/// The samples of one scrape, and what kind of metric each is of.
#[derive(Debug, Default)]
pub struct Scrape {
    /// By name and labels, as they are written.
    samples: BTreeMap<String, String>,
    /// `counter`, `gauge` and so on, by the metric's name.
    types: BTreeMap<String, String>,
}

impl Scrape {
    /// Asks this address.
    ///
    /// # Panics
    /// If what it answers is not Prometheus' text form.
    pub async fn of(addr: SocketAddr) -> Self {
        let reply = HttpClient::new(addr).get("/metrics").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(reply.text())
    }

    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends: {text}");
        let (mut scrape, mut described, mut current) = (Self::default(), String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                assert!(help.len() > 10 && help.ends_with('.') && !help.ends_with(".."), "{line}");
                name.clone_into(&mut described);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                assert_eq!(name, described, "a type follows its help");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert_eq!(scrape.types.insert(name.to_owned(), kind.to_owned()), None, "{line} is there twice");
                name.clone_into(&mut current);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
                let name = series.split('{').next().unwrap_or_default();
                assert_eq!(name, current, "a sample follows its type");
                assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
                assert!(series.len() == name.len() || series.ends_with("\"}"), "{line}");
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
                let before = scrape.samples.insert(series.to_owned(), value.to_owned());
                assert_eq!(before, None, "{series} is there twice");
            }
        }
        scrape
    }

    /// The sample with this name, and these labels as they are written: a whole number.
    pub fn value(&self, series: &str) -> i64 {
        let value = self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {self:?}"));
        value.parse().unwrap_or_else(|error| panic!("{series} {value}: {error}"))
    }

    /// The names and labels that begin so, in alphabetical order.
    pub fn series(&self, prefix: &str) -> Vec<&str> {
        self.samples.keys().map(String::as_str).filter(|series| series.starts_with(prefix)).collect()
    }

    /// What kind of metric has this name.
    pub fn kind(&self, name: &str) -> &str {
        self.types.get(name).map_or("", String::as_str)
    }
}
