// Sends a list as it is, however long, as soon as it is dropped or chosen. Without this the form sends short ones.
"use strict";

const form = document.getElementById("handin");
if (form) {
    const drop = document.getElementById("drop");
    const input = document.getElementById("file");
    const sent = document.getElementById("sent");
    const problem = document.getElementById("problem");

    const refuse = (text) => {
        sent.hidden = true;
        input.value = "";
        problem.hidden = false;
        problem.firstElementChild.textContent = text;
    };

    const send = (file) => {
        const owner = form.elements.organization?.value;
        if (form.elements.organization && !owner) return refuse("Choose the organization first.");
        problem.hidden = true;
        sent.hidden = false;
        sent.value = 0;
        const asked = new URLSearchParams({ name: file.name, ...(owner ? { organization: owner } : {}) });
        const request = new XMLHttpRequest();
        request.open("POST", `${form.dataset.file}?${asked}`);
        request.setRequestHeader("Content-Type", "text/csv");
        request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
        request.upload.addEventListener("progress", (event) => {
            if (event.lengthComputable) sent.value = (100 * event.loaded) / event.total;
        });
        request.addEventListener("error", () => refuse("The connection broke. Try again."));
        request.addEventListener("load", () => {
            let answer = {};
            try {
                answer = JSON.parse(request.responseText);
            } catch {
                // A page instead: the session has ended, or something between here and there refused.
            }
            if (answer.address) location.assign(answer.address);
            else refuse(answer.problem || "The file was not taken. Sign in again, or send a smaller one.");
        });
        request.send(file);
    };

    // Before the theme hears of it, which looks for a field of its own beside every file input.
    const chosen = (event) => {
        if (event.target !== input) return;
        event.stopPropagation();
        if (input.files.length) send(input.files[0]);
    };
    drop.addEventListener("change", chosen, true);
    for (const kind of ["dragenter", "dragover"]) {
        drop.addEventListener(kind, (event) => {
            event.preventDefault();
            drop.classList.add("drop-over");
        });
    }
    for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("drop-over"));
    drop.addEventListener("drop", (event) => {
        event.preventDefault();
        if (event.dataTransfer.files.length) send(event.dataTransfer.files[0]);
    });
}
