const [binary] = new Bun.Glob('@deno/*/deno').scanSync('node_modules')
export const denoCmd = [`node_modules/${binary}`, 'run', '-A', '--no-lock']
