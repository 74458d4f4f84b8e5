// Finds devices while one types: the first few under the box, by the arrow keys or a click; Enter opens the list.
"use strict";

for (const form of document.querySelectorAll("form[data-find]")) {
    const box = form.querySelector("input[name=q]");
    const list = form.querySelector("[role=listbox]");
    const says = form.querySelector("[role=status]");
    let timer = 0;
    let asked = null;
    let chosen = -1;

    const options = () => [...list.querySelectorAll("[role=option]")];

    const close = () => {
        list.hidden = true;
        chosen = -1;
        box.setAttribute("aria-expanded", "false");
        box.removeAttribute("aria-activedescendant");
    };

    const choose = (index) => {
        const all = options();
        if (!all.length) return;
        chosen = (index + all.length) % all.length;
        all.forEach((option, place) => option.setAttribute("aria-selected", String(place === chosen)));
        box.setAttribute("aria-activedescendant", all[chosen].id);
        all[chosen].scrollIntoView({ block: "nearest" });
    };

    const find = async () => {
        const typed = box.value.trim();
        if (asked) asked.abort();
        if (!typed) return close();
        asked = new AbortController();
        try {
            const address = `${form.dataset.find}?${new URLSearchParams({ q: typed })}`;
            const answer = await fetch(address, { signal: asked.signal, credentials: "same-origin" });
            // A session that has ended is sent to the sign-in page: the list's own request will say so.
            if (!answer.ok || answer.redirected) return close();
            list.innerHTML = await answer.text();
        } catch (error) {
            if (error.name !== "AbortError") close();
            return;
        }
        chosen = -1;
        list.hidden = false;
        box.setAttribute("aria-expanded", "true");
        box.removeAttribute("aria-activedescendant");
        const count = options().length;
        says.textContent = count ? `${count} found` : "none found";
    };

    box.addEventListener("input", () => {
        clearTimeout(timer);
        timer = setTimeout(find, 150);
    });
    box.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && !list.hidden) {
            event.preventDefault();
            close();
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (list.hidden) return;
            event.preventDefault();
            choose(event.key === "ArrowDown" ? chosen + 1 : chosen < 0 ? -1 : chosen - 1);
        } else if (event.key === "Enter" && chosen >= 0) {
            event.preventDefault();
            location.assign(options()[chosen].dataset.address);
        }
    });
    list.addEventListener("mousedown", (event) => event.preventDefault());
    list.addEventListener("click", (event) => {
        const option = event.target.closest("[role=option]");
        if (option) location.assign(option.dataset.address);
    });
    box.addEventListener("blur", close);
    document.addEventListener("keydown", (event) => {
        const elsewhere = event.target.closest("input, textarea, select, [contenteditable]");
        if (event.key === "/" && !elsewhere && !event.ctrlKey && !event.metaKey && !event.altKey) {
            event.preventDefault();
            box.focus();
            box.select();
        }
    });
}
