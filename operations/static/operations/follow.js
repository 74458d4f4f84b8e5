// Follows an operation until it is over: fetches the moving part of its page every second.
"use strict";

const standing = document.getElementById("standing");
if (standing) {
    const over = () => standing.querySelector("[data-over]").dataset.over === "yes";

    const ask = async () => {
        if (over()) return;
        if (!document.hidden) {
            try {
                const answer = await fetch(standing.dataset.follow + location.search, { credentials: "same-origin" });
                if (answer.redirected || answer.status === 403 || answer.status === 404) return;
                if (answer.ok) {
                    const news = new DOMParser().parseFromString(await answer.text(), "text/html").body;
                    const controls = "a, button, [tabindex]";
                    const held = [...standing.querySelectorAll(controls)].indexOf(document.activeElement);
                    standing.replaceChildren(...news.childNodes);
                    if (held >= 0) standing.querySelectorAll(controls)[held]?.focus({ preventScroll: true });
                }
            } catch {
                // The service restarts, or the network is away: the next round may reach it.
            }
        }
        setTimeout(ask, 1000);
    };
    setTimeout(ask, 1000);
}
