//! What a request costs stays within the committed budget.

use leastload_filter_tests::cost::{Budget, Scenario, Toolchain, count};

#[test]
fn a_request_costs_what_the_budget_says() {
    let scenarios = Scenario::all();
    let counted = count(&scenarios);
    let budget = Budget::read().expect("the budget can be read");
    let here = Toolchain::here("", &counted);
    let mut findings = budget.coverage();
    findings.extend(budget.compare(&here, &counted));
    let failed: Vec<&str> =
        findings.iter().filter(|f| f.fails).map(|finding| finding.text.as_str()).collect();
    assert!(
        failed.is_empty(),
        "{}\n`make cost` shows all figures; `make cost ACCEPT=1` makes them the budget",
        failed.join("\n")
    );
}
