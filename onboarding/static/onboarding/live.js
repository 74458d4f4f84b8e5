// Follows a phone: fetches the moving parts of its page every 2 s, while the page is looked at and anything may move.
"use strict";

const section = document.querySelector("[data-live]");
if (section) {
    const PERIOD = 2000;
    // A page that was left open stops asking; what people watch moves within minutes.
    const WATCHED = 15 * 60 * 1000;
    const button = section.querySelector(".live");
    const says = document.getElementById("live-says");
    let until = Date.now() + WATCHED;
    let timer = 0;

    const part = (name) => document.querySelector(`[data-part="${name}"]`);

    const draw = (text) => {
        const news = new DOMParser().parseFromString(text, "text/html");
        const before = part("head").dataset.state;
        for (const fresh of news.querySelectorAll("[data-part]")) {
            const present = part(fresh.dataset.part);
            if (!present || present.innerHTML === fresh.innerHTML) continue;
            // What is open stays open, and whoever stands on a control in it keeps standing there.
            const open = [...present.querySelectorAll("details")].map((details) => details.open);
            const held = [...present.querySelectorAll("summary, a, button")].indexOf(document.activeElement);
            present.replaceChildren(...fresh.childNodes);
            const more = present.querySelectorAll("details").length - open.length;
            present.querySelectorAll("details").forEach((details, place) => {
                if (open[place - more]) details.open = true;
            });
            if (held >= 0) present.querySelectorAll("summary, a, button")[held]?.focus({ preventScroll: true });
            Object.assign(present.dataset, fresh.dataset);
        }
        const head = part("head").dataset;
        if (head.state !== before) {
            until = Date.now() + WATCHED;
            says.textContent = `Now ${head.says}`;
        }
    };

    const stop = (pressed) => {
        clearTimeout(timer);
        timer = 0;
        button.setAttribute("aria-pressed", String(pressed));
    };

    const ask = async () => {
        timer = 0;
        if (Date.now() > until) return stop(false);
        if (document.hidden) return;
        try {
            const seen = new URLSearchParams({ seen: part("head").dataset.seen });
            const answer = await fetch(`${section.dataset.live}?${seen}`, { credentials: "same-origin" });
            if (answer.status === 410 || answer.status === 403 || answer.redirected) return stop(false);
            if (answer.status === 200) draw(await answer.text());
        } catch {
            // The service restarts, or the network is away: the next round may reach it.
        }
        if (button.getAttribute("aria-pressed") === "true") timer = setTimeout(ask, PERIOD);
    };

    const start = () => {
        until = Date.now() + WATCHED;
        button.setAttribute("aria-pressed", "true");
        if (!timer) timer = setTimeout(ask, PERIOD);
    };

    const ago = (moment) => {
        const seconds = Math.max(0, Math.round((Date.now() - moment) / 1000));
        const [count, unit] =
            seconds < 60 ? [seconds, "second"]
            : seconds < 3600 ? [Math.floor(seconds / 60), "minute"]
            : [Math.floor(seconds / 3600), "hour"];
        return seconds ? `${count} ${unit}${count === 1 ? "" : "s"} ago` : "now";
    };
    // Times move on by themselves while the page stands. Older ones than a day do not, to be seen.
    setInterval(() => {
        for (const time of document.querySelectorAll("[data-part] time[datetime]")) {
            const moment = Date.parse(time.dateTime);
            if (Date.now() - moment < 86_400_000 && moment <= Date.now()) {
                const said = ago(moment);
                if (time.textContent !== said) time.textContent = said;
            }
        }
    }, 5000);

    button.hidden = false;
    button.addEventListener("click", () => (button.getAttribute("aria-pressed") === "true" ? stop(false) : start()));
    document.addEventListener("visibilitychange", () => {
        if (!document.hidden && button.getAttribute("aria-pressed") === "true") start();
    });
    start();
}
