// The bench: takes what a scanner types, sends it, says what became of it by colour, sound and word.
// The session lives in this browser: it survives a reload, a lost connection and an empty battery. Scans are sent one
// after another, in order, and again until they are answered; the service takes a repeated one as the same.
"use strict";

const bench = document.getElementById("bench");
if (bench) {
    const id = (name) => document.getElementById(name);
    const [setup, work, scan, rowsBody] = ["setup", "work", "scan", "rows"].map(id);
    const KEY = `bench:${bench.dataset.person}`;
    // What one session keeps, and what the table shows of it.
    const MOST_ROWS = 5000;
    const SHOWN = 100;
    const PAUSES = [1000, 2000, 5000, 10000];

    const blank = () => ({ started: bench.dataset.started, next: 1, rows: [], queue: [], box: null, terms: null });
    let session = blank();
    let sending = false;
    let fails = 0;
    let retry = 0;
    // One scan that the service cannot digest must not hold up all that come after it.
    const MOST_BROKEN = 5;
    let broken = 0;

    const keep = () => {
        try {
            localStorage.setItem(KEY, JSON.stringify(session));
        } catch {
            // Without storage the session lives as long as the page.
        }
    };

    const load = () => {
        try {
            const kept = JSON.parse(localStorage.getItem(KEY) || "null");
            if (kept && Array.isArray(kept.rows) && Array.isArray(kept.queue)) session = { ...blank(), ...kept };
        } catch {
            session = blank();
        }
    };

    // Sound: short and high for good, long and low for bad, so that nobody has to look.
    let audio = null;
    const beep = (tone) => {
        const [frequency, seconds, kind] = {
            good: [1320, 0.09, "sine"], begun: [880, 0.05, "sine"], wait: [660, 0.05, "sine"], bad: [196, 0.45, "square"],
        }[tone];
        try {
            audio ??= new AudioContext();
            audio.resume();
            const tune = audio.createOscillator();
            const loud = audio.createGain();
            tune.type = kind;
            tune.frequency.value = frequency;
            loud.gain.value = kind === "square" ? 0.15 : 0.3;
            tune.connect(loud).connect(audio.destination);
            tune.start();
            tune.stop(audio.currentTime + seconds);
        } catch {
            // No sound here; colour and words say it too.
        }
        bench.dataset.beep = `${tone} ${1 + Number((bench.dataset.beep || "x 0").split(" ")[1])}`;
    };

    const say = (tone, headline, detail = "") => {
        id("now").dataset.tone = tone;
        id("headline").textContent = headline;
        id("detail").textContent = detail;
        const [speaks, quiet] = tone === "bad" ? ["alarm", "polite"] : ["polite", "alarm"];
        id(quiet).textContent = "";
        id(speaks).textContent = `${headline} ${detail}`.trim();
    };

    const counted = (tone) => session.rows.filter((row) => row.tone === tone).length;

    const draw = () => {
        id("count").textContent = counted("good");
        id("waiting-count").textContent = session.queue.length;
        id("waiting").hidden = !session.queue.length || !fails;
        id("wrong-count").textContent = counted("bad");
        id("wrong").hidden = !counted("bad");
        const shown = session.rows.slice(-SHOWN).reverse();
        rowsBody.replaceChildren(...shown.map(drawnRow));
        id("hidden-rows").hidden = session.rows.length <= SHOWN;
        id("hidden-rows").textContent = `${session.rows.length - SHOWN} earlier rows are in the CSV.`;
        const terms = session.terms;
        if (terms) {
            const parts = [terms.profileName, terms.model, terms.with_serial ? "MAC and serial number" : "MAC or 2D code"];
            if (terms.label) parts.push(`next label: ${terms.label}`);
            id("settings").textContent = `${parts.filter(Boolean).join(" · ")}.`;
        }
    };

    const drawnRow = (row) => {
        const line = document.createElement("tr");
        line.dataset.tone = row.tone;
        for (const text of [row.number || "", row.shown || row.scan]) line.insertCell().textContent = text;
        const says = line.insertCell();
        says.append(row.says);
        if (row.address && row.tone === "good") {
            const link = document.createElement("a");
            link.href = row.address;
            link.textContent = "page";
            link.setAttribute("aria-label", `Page of ${row.shown}`);
            says.append(" ", link);
        }
        for (const text of [row.label, row.serial, row.model]) line.insertCell().textContent = text || "";
        return line;
    };

    // "Desk 099" is followed by "Desk 100". A label without a number is every phone's.
    const countedUp = (label) =>
        label.replace(/(\d+)(\D*)$/, (_, digits, rest) => String(BigInt(digits) + 1n).padStart(digits.length, "0") + rest);

    const STATUS = { claimed: "Registered", changed: "Was yours already; has this profile now", unchanged: "Was yours already, with this profile" };

    const add = (row) => {
        session.rows.push(row);
        if (session.rows.length > MOST_ROWS) session.rows.shift();
    };

    const registered = (text, answer) => {
        const row = answer.row;
        session.box = null;
        const before = session.rows.find((one) => one.tone === "good" && one.mac === row.mac);
        if (before) {
            // Its label is not used up, and its place in the session stays.
            Object.assign(before, { undo: row.undo, serial: row.serial });
            add({ tone: "bad", scan: text, mac: row.mac, shown: row.shown, says: `Scanned twice: it is number ${before.number}`, code: "duplicate", at: row.at });
            beep("bad");
            return say("bad", `Scanned twice: ${row.shown}`, `It is number ${before.number} of this session. Put it with the finished ones.`);
        }
        const number = session.next++;
        add({ ...row, tone: "good", number, scan: text, says: STATUS[row.status] });
        if (row.label && row.label === session.terms.label) session.terms.label = countedUp(session.terms.label);
        beep("good");
        say("good", `${number}: ${row.shown}`, [STATUS[row.status], row.label, row.profile].filter(Boolean).join(" · "));
    };

    const TAKEN = "Put the box aside.";
    const take = (text, answer) => {
        if (answer.outcome === "registered") return registered(text, answer);
        if (answer.outcome === "begun") {
            session.box = answer.box;
            beep("begun");
            return say("wait", answer.box.mac ? "Now its serial number" : "Now its MAC", `Scanned: ${answer.box.mac || answer.box.serial || answer.box.model}`);
        }
        if ("box" in answer) session.box = answer.box;
        else if (answer.code === "device_taken" || answer.code === "model_missing") session.box = null;
        const detail = answer.detail || "The service does not understand this.";
        const remedy = answer.code === "device_taken" ? `${TAKEN} ${answer.remedy}` : answer.remedy || "";
        add({ tone: "bad", scan: text, says: `${detail} ${remedy}`.trim(), code: answer.code || "malformed", at: new Date().toISOString() });
        beep("bad");
        say("bad", detail, remedy);
    };

    const token = () =>
        document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] || bench.querySelector("[name=csrfmiddlewaretoken]").value;

    // Answers that are none: the network, a restart, a session that ended. The scan stays in the queue.
    class Away extends Error {}

    const post = async (address, body) => {
        let answer;
        try {
            answer = await fetch(address, {
                method: "POST", credentials: "same-origin", signal: AbortSignal.timeout(15000),
                headers: { "Content-Type": "application/json", "X-CSRFToken": token() }, body: JSON.stringify(body),
            });
        } catch {
            throw new Away("The service cannot be reached.");
        }
        if (answer.redirected || answer.status === 403) throw new Away("Your sign-in has ended: sign in again in another tab.");
        if (answer.status === 500 && ++broken >= MOST_BROKEN) {
            broken = 0;
            return { outcome: "refused", code: "internal_error", detail: "The service fails on this scan.", remedy: "Put the box aside and tell the operator." };
        }
        if (answer.status !== 200 && answer.status !== 400) throw new Away("The service is not available at the moment.");
        broken = 0;
        try {
            return await answer.json();
        } catch {
            throw new Away("The service is not available at the moment.");
        }
    };

    const send = async () => {
        if (sending) return;
        sending = true;
        clearTimeout(retry);
        while (session.queue.length) {
            const text = session.queue[0];
            const { profile, model, label, with_serial } = session.terms;
            try {
                const answer = await post(bench.dataset.scan, {
                    scan: text, profile, model, label, with_serial, box: session.box, started: session.started,
                });
                fails = 0;
                session.queue.shift();
                take(text, answer);
            } catch (reason) {
                if (!(reason instanceof Away)) throw reason;
                const pause = PAUSES[Math.min(fails++, PAUSES.length - 1)];
                say("wait", `${session.queue.length} waiting to be sent`, `${reason.message} Go on scanning: nothing is lost.`);
                retry = setTimeout(send, pause);
                break;
            } finally {
                keep();
                draw();
            }
        }
        sending = false;
    };

    const scanned = () => {
        const text = scan.value.trim();
        scan.value = "";
        if (!text) return;
        session.queue.push(text);
        keep();
        if (fails) {
            beep("wait");
            draw();
            say("wait", `${session.queue.length} waiting to be sent`, "Go on scanning: nothing is lost.");
        }
        send();
    };

    scan.addEventListener("keydown", (event) => {
        const ends = event.key === "Enter" || (event.key === "Tab" && !event.shiftKey && scan.value.trim());
        if (ends) {
            event.preventDefault();
            scanned();
        } else if (event.ctrlKey && event.key === "]") {
            // How scanners type the separator GS of 2D and GS1 codes.
            event.preventDefault();
            scan.setRangeText("\x1d", scan.selectionStart, scan.selectionEnd, "end");
        }
    });

    const undo = async () => {
        if (sending && !fails) return say("wait", "A moment: the last scan is on its way.");
        if (session.queue.length) {
            const text = session.queue.pop();
            beep("wait");
            say("wait", "Taken back before it was sent", text);
        } else if (session.box) {
            session.box = null;
            beep("wait");
            say("wait", "The begun box is put back", "Scan it again from the start.");
        } else {
            const row = session.rows.findLast((one) => one.tone === "good");
            if (!row) return say("wait", "Nothing to take back.");
            try {
                const answer = await post(bench.dataset.undo, { undo: row.undo });
                if (answer.outcome !== "undone") {
                    beep("bad");
                    say("bad", answer.detail || "It cannot be taken back any more.", answer.remedy || "Open its page.");
                } else {
                    row.tone = "gone";
                    row.says = row.status === "claimed" ? "Taken back: not registered any more" : "Taken back: as it was before";
                    if (row.number === session.next - 1) session.next--;
                    if (row.status === "claimed" && row.label && countedUp(row.label) === session.terms.label) session.terms.label = row.label;
                    beep("wait");
                    say("wait", `Taken back: ${row.shown}`, row.says);
                }
            } catch (reason) {
                if (!(reason instanceof Away)) throw reason;
                beep("bad");
                say("bad", "Not taken back", `${reason.message} Try again in a moment.`);
            }
        }
        keep();
        draw();
        scan.focus();
    };

    const form = id("print");
    form.addEventListener("submit", (event) => {
        const good = session.rows.filter((row) => row.tone === "good");
        const unprinted = good.filter((row) => !row.printed);
        const chosen = (unprinted.length ? unprinted : good).slice(-1000);
        if (!chosen.length) {
            event.preventDefault();
            return say("wait", "Nothing to print yet.");
        }
        form.elements.macs.value = chosen.map((row) => row.mac).join(" ");
        for (const row of chosen) row.printed = true;
        keep();
        say("wait", `${chosen.length} label${chosen.length === 1 ? "" : "s"} to print`, unprinted.length ? "Those that were not printed before." : "All of this session, once more.");
    });

    // A spreadsheet would run a text that begins like a formula.
    const cell = (value) => `"${String(value ?? "").replace(/^(?=[=+\-@\t\r])/, "'").replaceAll('"', '""')}"`;
    const download = () => {
        const lines = session.rows.map((row) =>
            [row.number, row.mac, row.serial, row.model, row.label, row.profile, row.tone === "good" ? row.status : row.tone === "gone" ? "taken back" : row.code, row.says, row.at, row.scan].map(cell).join(","));
        const text = ["number,mac,serial,model,label,profile,result,detail,at,scan", ...lines, ""].join("\r\n");
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
        link.download = `bench-${session.started.slice(0, 10)}.csv`;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
        say("wait", `${session.rows.length} rows downloaded`);
    };

    const show = () => {
        const open = session.terms === null;
        setup.hidden = !open;
        work.hidden = open;
        draw();
        (open ? setup.elements.profile : scan).focus();
        if (!open) send();
        if (!open && !sending && session.rows.length) {
            say("", session.box ? "Go on with the begun box." : "Go on with the next box.", `${counted("good")} registered so far.`);
        }
    };

    setup.addEventListener("submit", (event) => {
        event.preventDefault();
        const chosen = setup.elements.profile.selectedOptions[0];
        session.terms = {
            profile: Number(chosen.value), profileName: chosen.textContent.trim(), model: setup.elements.model.value.trim(),
            label: setup.elements.label.value.trim(), with_serial: setup.elements.with_serial.value === "1",
        };
        keep();
        say("", "Scan the first box.");
        show();
    });

    id("change").addEventListener("click", () => {
        const terms = session.terms;
        session.terms = null;
        fill(terms);
        show();
    });

    const fill = (terms) => {
        if (!terms) return;
        const profile = setup.elements.profile;
        if (!profile.querySelector("[data-asked]") && [...profile.options].some((one) => one.value === String(terms.profile))) profile.value = terms.profile;
        setup.elements.model.value = terms.model;
        setup.elements.label.value = terms.label;
        setup.elements.with_serial.value = terms.with_serial ? "1" : "";
    };

    id("fresh").addEventListener("click", () => {
        if (session.queue.length) return say("bad", `${session.queue.length} scans are not sent yet.`, "Wait until they are, or take them back.");
        if (session.rows.length && !confirm("Begin a new session? The present list is gone then; what is registered stays.")) return;
        const terms = session.terms;
        // By the service's clock: what was registered until then is not of the new session.
        session = { ...blank(), started: session.rows.findLast((row) => row.mac && row.address)?.at || bench.dataset.started };
        fill(terms);
        keep();
        show();
    });

    id("undo").addEventListener("click", undo);
    id("export").addEventListener("click", download);

    document.addEventListener("keydown", (event) => {
        if (work.hidden) return;
        if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
            const does = { z: undo, p: () => form.requestSubmit(), s: download }[event.key.toLowerCase()];
            if (does && !(event.key === "z" && scan.value)) {
                event.preventDefault();
                does();
            }
            return;
        }
        // A scan must not be lost because somebody clicked elsewhere: what is typed nowhere is typed into the box.
        const elsewhere = event.target.closest("input, select, textarea, button, a, [contenteditable], dialog");
        if (!elsewhere && event.key.length === 1 && !event.altKey) scan.focus();
    });
    window.addEventListener("focus", () => !work.hidden && document.activeElement === document.body && scan.focus());
    window.addEventListener("online", send);
    window.addEventListener("beforeunload", (event) => session.queue.length && event.preventDefault());

    load();
    const asked = setup.elements.profile.querySelector("[data-asked]");
    if (asked && session.terms && String(session.terms.profile) !== asked.value) {
        // Another profile's page sent the person here: its name is to be confirmed.
        const terms = session.terms;
        session.terms = null;
        fill(terms);
    }
    show();
}
