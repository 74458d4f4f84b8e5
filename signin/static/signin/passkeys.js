// Forms marked data-passkey ask the browser for a passkey ("get") or a new one ("create"), and send what it answers.
// The options stand in the page (#passkey-options), or are fetched when the button is pressed (data-options).
(() => {
    const forms = document.querySelectorAll("form[data-passkey]");
    const isName = !/^(\d+\.){3}\d+$|^\[/.test(location.hostname);
    if (!window.PublicKeyCredential || !isName) return;

    const explained = {
        NotAllowedError: "No passkey was used. Try again, or go on without.",
        InvalidStateError: "This device holds a passkey of yours already.",
    };

    async function options(form) {
        const inPage = document.getElementById("passkey-options");
        if (!form.dataset.options) return JSON.parse(inPage.textContent);
        const answer = await fetch(form.dataset.options, { method: "POST", body: new FormData(form) });
        if (!answer.ok) throw new Error(`The service answered ${answer.status}.`);
        return answer.json();
    }

    for (const form of forms) {
        form.hidden = false;
        form.addEventListener("submit", async (event) => {
            event.preventDefault();
            const said = form.querySelector(".passkey-error");
            said.hidden = true;
            try {
                const answer = await window.webauthnJSON[form.dataset.passkey](await options(form));
                form.elements.credential.value = JSON.stringify(answer);
                form.submit();
            } catch (error) {
                said.textContent = explained[error.name] || error.message;
                said.hidden = false;
            }
        });
    }
    const none = document.getElementById("no-passkeys");
    if (none) none.hidden = true;
})();
