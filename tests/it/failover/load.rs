//! Callers of two services at work, and how long they got no answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time;

use crate::support::client::Client;
use crate::support::script::{Caller, persist};

/// When each service answered.
type Answers = Arc<Mutex<[Vec<Instant>; 2]>>;

/// Callers at work.
pub struct Load {
    answers: Answers,
    is_ended: Arc<AtomicBool>,
    playing: JoinHandle<Vec<Caller>>,
}

impl Load {
    pub fn start(clients: &[Client], callers: Vec<Caller>) -> Self {
        let (answers, is_ended) = (Answers::default(), Arc::new(AtomicBool::new(false)));
        let note = Arc::clone(&answers);
        let answered = move |service: usize| note.lock().expect("nobody panicked")[service].push(Instant::now());
        let playing = tokio::spawn(persist(clients.to_vec(), callers, answered, Arc::clone(&is_ended)));
        Self { answers, is_ended, playing }
    }

    /// Waits until each service has given so many answers from now on.
    pub async fn answered(&self, count: usize) {
        self.answered_by(0, count).await;
        self.answered_by(1, count).await;
    }

    pub async fn answered_by(&self, service: usize, count: usize) {
        let given = || self.answers.lock().expect("nobody panicked")[service].len();
        let before = given();
        while given() < before + count {
            assert!(!self.playing.is_finished(), "a caller was answered wrongly");
            time::sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn end(self) -> (Vec<Caller>, [Gap; 2]) {
        self.is_ended.store(true, Ordering::Relaxed);
        let callers = self.playing.await.expect("every answer is right");
        let answers = self.answers.lock().expect("nobody panicked");
        (callers, answers.each_ref().map(|answers| Gap::longest(answers)))
    }
}

/// A time without an answer of one service.
#[derive(Clone, Copy)]
pub struct Gap {
    pub length: Duration,
    pub ended: Instant,
}

impl Gap {
    fn longest(answers: &[Instant]) -> Self {
        let gaps = answers.windows(2).map(|two| Self { length: two[1] - two[0], ended: two[1] });
        gaps.max_by_key(|gap| gap.length).expect("answers")
    }
}
