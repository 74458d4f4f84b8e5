// Follows the tests of a profile's targets: while any runs, the section is fetched every second and a half.
"use strict";

const PERIOD = 1500;
// Longer than that no test waits unless the jobs stand still; the page then says what it knows.
const WATCHED = 3 * 60 * 1000;
let until = Date.now() + WATCHED;

const section = () => document.getElementById("target-health");

const show = async (options) => {
    try {
        const answer = await fetch(section().dataset.address, { credentials: "same-origin", ...options });
        if (answer.status === 200 && !answer.redirected) {
            const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("target-health");
            const held = section().contains(document.activeElement);
            section().replaceWith(document.adoptNode(fresh));
            listen();
            if (held) section().querySelector("button")?.focus({ preventScroll: true });
        }
    } catch {
        // The network is away: the next round may reach it.
    }
    follow();
};

const follow = () => {
    if ("busy" in section().dataset && Date.now() < until) setTimeout(show, PERIOD);
};

const listen = () => {
    section().querySelector("form")?.addEventListener("submit", (event) => {
        event.preventDefault();
        if ("busy" in section().dataset) return;
        until = Date.now() + WATCHED;
        show({ method: "POST", body: new FormData(event.target) });
    });
};

if (section()) {
    listen();
    follow();
}
