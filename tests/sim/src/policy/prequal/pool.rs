//! The answers a client of Prequal keeps, and how they leave again (section 4 of the paper).

use std::cmp::Ordering;

use crate::policy::ServerId;

/// What a server answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) server: ServerId,
    /// When it arrived, in ns.
    pub(super) at: u64,
    /// Requests in flight, with those that were sent since on the strength of this answer.
    pub(super) in_flight: f32,
    /// In ns.
    pub(super) latency: f32,
    /// Requests it may still attract.
    pub(super) uses: u32,
}

/// Where an answer stands: less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rank(pub(super) bool, pub(super) f64, pub(super) f64);

impl Rank {
    pub(super) fn cmp(&self, other: &Self) -> Ordering {
        (self.0.cmp(&other.0))
            .then_with(|| self.1.total_cmp(&other.1))
            .then_with(|| self.2.total_cmp(&other.2))
    }

    /// Hot-cold lexicographic: a cold server comes before a hot one; of the cold, lower latency
    /// first, of the hot, fewer in flight.
    pub(super) fn hot_cold(answer: &Answer, threshold: f32) -> Self {
        let (in_flight, latency) = (answer.in_flight.into(), answer.latency.into());
        if answer.in_flight > threshold {
            Self(true, in_flight, latency)
        } else {
            Self(false, latency, in_flight)
        }
    }
}

/// The best answer's place; of equals the newest's. `answers` are in the order they came.
pub(super) fn best(answers: &[Answer], rank: impl Fn(&Answer) -> Rank) -> Option<usize> {
    let ranks = answers.iter().map(rank).enumerate().rev();
    ranks.min_by(|(_, one), (_, other)| one.cmp(other)).map(|(place, _)| place)
}

/// Answers, oldest first, at most one of each server: a newer one replaces it. The paper does not
/// say so, but the share (1 - m/n) of probes that its equation 1 lets the pool grow by does.
pub(super) struct Pool {
    answers: Vec<Answer>,
    size: usize,
    /// The next answer to be discarded is the oldest; otherwise the worst.
    oldest_next: bool,
}

impl Pool {
    pub(super) fn new(size: usize) -> Self {
        Self { answers: Vec::with_capacity(size + 1), size, oldest_next: true }
    }

    pub(super) fn answers(&self) -> &[Answer] {
        &self.answers
    }

    pub(super) fn insert(&mut self, answer: Answer) {
        self.forget(answer.server);
        self.answers.push(answer);
        if self.answers.len() > self.size {
            self.answers.remove(0);
        }
    }

    pub(super) fn forget(&mut self, server: ServerId) {
        self.answers.retain(|answer| answer.server != server);
    }

    pub(super) fn keep(&mut self, wanted: impl Fn(ServerId) -> bool) {
        self.answers.retain(|answer| wanted(answer.server));
    }

    /// Discards what came before a time.
    pub(super) fn expire(&mut self, before: u64) {
        let old = self.answers.iter().take_while(|answer| answer.at < before).count();
        self.answers.drain(..old);
    }

    /// A request goes where an answer came from: one more is in flight there, and the answer is
    /// used up after its last use.
    pub(super) fn take(&mut self, place: usize) -> ServerId {
        let answer = &mut self.answers[place];
        let server = answer.server;
        answer.in_flight += 1.0;
        answer.uses = answer.uses.saturating_sub(1);
        if answer.uses == 0 {
            self.answers.remove(place);
        }
        server
    }

    /// Discards one: by turns the oldest and the worst, so that the pool is neither stale nor left
    /// with the servers nobody wants.
    pub(super) fn discard(&mut self, rank: impl Fn(&Answer) -> Rank) {
        let ranks = self.answers.iter().map(rank).enumerate().rev();
        let worst = ranks.max_by(|(_, one), (_, other)| one.cmp(other)).map(|(place, _)| place);
        if let Some(worst) = worst {
            self.answers.remove(if self.oldest_next { 0 } else { worst });
        }
        self.oldest_next = !self.oldest_next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(server: ServerId, in_flight: f32, latency: f32) -> Answer {
        Answer { server, at: u64::from(server), in_flight, latency, uses: 2 }
    }

    fn servers(pool: &Pool) -> Vec<ServerId> {
        pool.answers().iter().map(|answer| answer.server).collect()
    }

    #[test]
    fn the_cold_go_by_latency_and_the_hot_by_requests_in_flight() {
        let hot_cold = |answer: &Answer| Rank::hot_cold(answer, 5.0);
        let all = [
            answer(0, 9.0, 1.0),
            answer(1, 6.0, 99.0),
            answer(2, 5.0, 30.0),
            answer(3, 1.0, 40.0),
            answer(4, 3.0, 30.0),
        ];
        let mut left = all.to_vec();
        let mut order = Vec::new();
        while let Some(place) = best(&left, hot_cold) {
            order.push(left.remove(place).server);
        }
        assert_eq!(order, [4, 2, 3, 1, 0]);
        assert_eq!(best(&[], hot_cold), None);
        let equals = [answer(7, 1.0, 1.0), answer(8, 1.0, 1.0)];
        assert_eq!(best(&equals, hot_cold), Some(1), "the newest of equals");
    }

    #[test]
    fn a_used_answer_counts_its_request_and_wears_out() {
        let mut pool = Pool::new(3);
        pool.insert(answer(4, 2.0, 10.0));
        assert_eq!(pool.take(0), 4);
        assert!((pool.answers()[0].in_flight - 3.0).abs() < 1e-6);
        assert_eq!(pool.take(0), 4);
        assert!(pool.answers().is_empty());
    }

    #[test]
    fn answers_leave_by_age_by_overflow_and_for_newer_ones() {
        let mut pool = Pool::new(3);
        for server in 0..5 {
            pool.insert(answer(server, 0.0, 0.0));
        }
        assert_eq!(servers(&pool), [2, 3, 4]);
        pool.insert(Answer { at: 9, ..answer(3, 1.0, 0.0) });
        assert_eq!(servers(&pool), [2, 4, 3]);
        pool.expire(4);
        assert_eq!(servers(&pool), [4, 3]);
        pool.keep(|server| server != 4);
        assert_eq!(servers(&pool), [3]);
    }

    #[test]
    fn by_turns_the_oldest_and_the_worst_are_discarded() {
        let hot_cold = |answer: &Answer| Rank::hot_cold(answer, 5.0);
        let mut pool = Pool::new(9);
        for (server, in_flight, latency) in
            [(0, 0.0, 0.0), (1, 1.0, 90.0), (2, 7.0, 2.0), (3, 8.0, 1.0), (4, 2.0, 20.0)]
        {
            pool.insert(answer(server, in_flight, latency));
        }
        let mut left = Vec::new();
        for _ in 0..6 {
            pool.discard(hot_cold);
            left.push(servers(&pool));
        }
        // Oldest 0; the hottest 3; oldest 1; the last hot one 2; oldest 4; nothing.
        let expected: [&[ServerId]; 6] = [&[1, 2, 3, 4], &[1, 2, 4], &[2, 4], &[4], &[], &[]];
        assert_eq!(left, expected);
    }
}
