/* The course in JupyterLab: a launcher section and four commands.
 *
 * Written by hand, so that the course needs no JavaScript build. JupyterLab adds
 * this file to the page as a script and then expects a "container" under the
 * extension's name in window._JUPYTERLAB:
 *
 *   init(shared)  is called once, before anything else, with every package that
 *                 JupyterLab shares: shared[name][version].get() is a promise of a
 *                 function that returns the package;
 *   get(module)   is called with the module named in package.json, and is a promise
 *                 of a function that returns it, with the plugins as its default.
 */
(() => {
  'use strict';

  const FIRST_LESSON = 'lessons/00_start_here.ipynb';

  // Class jp-icon3 gives a shape the theme's own icon colour.
  const svg = path =>
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">' +
    `<path class="jp-icon3 jp-icon-selectable" fill="#616161" d="${path}"/></svg>`;
  const ICONS = {
    start: svg('M4 4h7v16H4zM13 4h7v16h-7zM6 7v2h3V7zM15 7v2h3V7z'),
    next: svg('M4 4h9v16H4zM15 8l6 4-6 4z'),
    check: svg('M9 16.2 4.8 12 3.4 13.4 9 19 21 7 19.6 5.6z'),
    progress: svg('M4 13h4v7H4zM10 8h4v12h-4zM16 4h4v16h-4z')
  };

  let shared;

  async function load(name) {
    // JupyterLab keeps one version of each package asked for below.
    const [version] = Object.values(shared[name]);
    return (await version.get())();
  }

  async function createPlugin() {
    const [apputils, notebook, launcher, rendermime, ui, widgets] =
      await Promise.all(
        [
          '@jupyterlab/apputils',
          '@jupyterlab/notebook',
          '@jupyterlab/launcher',
          '@jupyterlab/rendermime',
          '@jupyterlab/ui-components',
          '@lumino/widgets'
        ].map(load)
      );

    function activate(app, tracker, renderers, palette, launcherModel) {
      const { commands, serviceManager } = app;
      const open = path => commands.execute('docmanager:open', { path });

      /* ---- dialogs ---------------------------------------------------- */

      /* Shows a sentence, or the result of a promise as soon as it is there. A
         failed promise shows its message. */
      async function show(title, content) {
        const region = new widgets.Panel();
        region.addClass('jp-RenderedHTMLCommon');
        // In the tab order, so that the arrow keys can scroll a long report.
        region.node.tabIndex = 0;
        region.node.setAttribute('role', 'region');
        region.node.setAttribute('aria-label', title);
        region.node.setAttribute('aria-live', 'polite');
        region.node.style.cssText =
          'overflow: auto; max-height: 65vh; min-width: min(32em, 80vw); padding: 4px';
        const say = text => {
          region.node.textContent = text;
        };
        say('Working …');
        Promise.resolve(content).then(
          async result => {
            if (typeof result === 'string') {
              return say(result);
            }
            const type = renderers.preferredMimeType(result, 'any');
            const renderer = renderers.createRenderer(type);
            await renderer.renderModel(
              renderers.createModel({ data: result, trusted: true })
            );
            say('');
            region.addWidget(renderer);
          },
          error => say(error.message)
        );
        await apputils.showDialog({
          title,
          body: region,
          buttons: [apputils.Dialog.okButton({ label: 'Close' })]
        });
      }

      /* ---- kernels ---------------------------------------------------- */

      /* Evaluates Python and resolves with the value as a MIME bundle. The value
         travels in the reply: output published by a kernel that has just started
         can be lost before anyone listens. */
      async function evaluate(kernel, expression, { history = false } = {}) {
        const future = kernel.requestExecute({
          code: 'import mlopt_edu.checks',
          store_history: history,
          user_expressions: { value: expression }
        });
        const { content } = await new Promise((resolve, reject) => {
          future.onReply = resolve;
          future.done.catch(reject);
        }).catch(() => {
          throw new Error(
            'The kernel stopped before it answered. Run the cells again, then check.'
          );
        });
        const result = content.user_expressions?.value ?? content;
        if (result.status === 'ok' && result.data) {
          return result.data;
        }
        // A CheckError is a sentence to the learner already.
        const name = result.ename === 'CheckError' ? '' : `${result.ename}: `;
        throw new Error(
          result.ename ? name + result.evalue : 'The kernel was interrupted.'
        );
      }

      const currentKernel = () =>
        tracker.currentWidget?.sessionContext.session?.kernel ?? null;

      /* A kernel calls itself idle while a cell runs, once it has answered the
         debugger, which has a line of its own. So the cells are asked too. */
      function isBusy(kernel) {
        const cells = [...(tracker.currentWidget?.content.model?.cells ?? [])];
        const running = cells.some(cell => cell.executionState === 'running');
        return kernel.status === 'busy' || running;
      }

      function checkAll() {
        const kernel = currentKernel();
        if (!kernel || ['dead', 'terminating'].includes(kernel.status)) {
          return 'Open an exercise and run its cells first: no notebook with a running kernel is in front.';
        }
        if (isBusy(kernel)) {
          return 'A cell is still running. Wait for it, or interrupt the kernel, and check again.';
        }
        // With history: check() looks at the last input to see which cell asks.
        return evaluate(kernel, 'mlopt_edu.checks.check()', { history: true });
      }

      async function progress() {
        const ask = running => evaluate(running, 'mlopt_edu.checks.progress()');
        const kernel = currentKernel();
        if (kernel?.status === 'idle' && !isBusy(kernel)) {
          return ask(kernel);
        }
        // The path is the folder that the kernel starts in: progress is kept there.
        const path = `${course()}lessons`;
        const temporary = await serviceManager.kernels.startNew({ path });
        try {
          return await ask(temporary);
        } finally {
          await temporary.shutdown();
          temporary.dispose();
        }
      }

      /* ---- the course ------------------------------------------------- */

      /* "a/lessons/03_rates.ipynb" is number 3 of the course in "a/". */
      function place() {
        const path = tracker.currentWidget?.context.path ?? '';
        const match = path.match(
          /^(|.*\/)(?:lessons|exercises|solutions)\/(\d+)_[^/]*\.ipynb$/
        );
        return match && { course: match[1], number: Number(match[2]) };
      }

      const course = () => place()?.course ?? '';

      async function openFirst() {
        const path = course() + FIRST_LESSON;
        try {
          await serviceManager.contents.get(path, { content: false });
        } catch {
          return show(
            'No course here',
            `There is no ${path} in this folder. Start JupyterLab with: mlopt lab`
          );
        }
        return open(path);
      }

      async function openNext() {
        const here = place();
        if (!here) {
          return openFirst();
        }
        const folder = await serviceManager.contents.get(`${here.course}lessons`);
        const [next] = folder.content
          .map(file => file.path)
          .filter(path => parseInt(path.split('/').pop(), 10) > here.number)
          .filter(path => path.endsWith('.ipynb'))
          .sort();
        return next
          ? open(next)
          : show('Next lesson', 'This is the last lesson. Well done!');
      }

      /* ---- commands, palette, launcher -------------------------------- */

      const entries = [
        ['open-lesson-00', 'Start here', 'start', openFirst],
        ['next-lesson', 'Next lesson', 'next', openNext],
        ['check-all', 'Check all', 'check', () => show('Check all', checkAll())],
        ['progress', 'Progress', 'progress', () => show('Progress', progress())]
      ];
      entries.forEach(([name, label, icon, execute], rank) => {
        const command = `mlopt:${name}`;
        commands.addCommand(command, {
          // In the launcher the section's title says "Course" already.
          label: args => (args.card ? label : `Course: ${label.toLowerCase()}`),
          icon: new ui.LabIcon({ name: command, svgstr: ICONS[icon] }),
          execute
        });
        palette?.addItem({ command, category: 'Course' });
        launcherModel?.add({ command, category: 'Course', rank, args: { card: true } });
      });
    }

    return {
      id: 'mlopt-edu:course',
      description: 'Commands and a launcher section for the course.',
      autoStart: true,
      requires: [notebook.INotebookTracker, rendermime.IRenderMimeRegistry],
      optional: [apputils.ICommandPalette, launcher.ILauncher],
      activate
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB['mlopt-edu'] = {
    init: scope => {
      shared = scope;
    },
    get: async () => {
      const plugin = await createPlugin();
      return () => ({ __esModule: true, default: plugin });
    }
  };
})();
